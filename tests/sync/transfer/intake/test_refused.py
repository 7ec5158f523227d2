"""What the machine's side of an upload refuses, and what is as it was then."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from launcher.agent.codec import Codec
from launcher.agent.hashes import LEAF_BYTES, digest_of
from launcher.agent.intake import Intake
from launcher.agent.parcels import NUMBER, join
from launcher.agent.place import Place
from launcher.agent.wire import Refusal, frame_of
from launcher.errors import HostUnreachable, TransferError
from launcher.sync.wire import session

from .parcels import BIG, ROOT, Json, files, fill, part, row, seal, tree, update


def test_what_is_not_as_its_digest_says_is_refused(place: Place, line: Intake) -> None:
    forged = join({"files": [["a", 3, 7, 0o644]]}, [digest_of(b"old")], [b"new"])
    assert line.accept(forged) == "a: what came is not what was sent"
    assert line.accept(join({"files": [["a", 9, 7, 0o644]]}, [digest_of(b"old")], [b"old"])).startswith("a: ")
    assert line.accept(part("big", len(BIG), 0, BIG[:LEAF_BYTES], digest=digest_of(b"x"))).startswith("big: ")
    assert line.accept(part("big", len(BIG), 2 * LEAF_BYTES, BIG[: 2 * LEAF_BYTES])).startswith("big: ")
    assert line.accept(part("big", len(BIG), -LEAF_BYTES, BIG[:LEAF_BYTES])).startswith("big: ")
    assert line.accept(seal("big", BIG)) == "big: what came together is not what was sent"
    assert place.staged_rows() == {}
    assert not list(Path(place.tree).iterdir())
    assert not update(row("a", b"old"))
    assert not Path(place.root).exists()


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "a\0b", "", ".", "a//b"])
def test_a_name_that_leads_out_is_refused(place: Place, line: Intake, name: str) -> None:
    with pytest.raises(Refusal, match="not a relative path"):
        line.accept(files(**{name: b"evil"}))
    with pytest.raises(Refusal):
        update(delete=[name])
    with pytest.raises(Refusal):
        update([name, "d", 0, 0, 0o700, "", ""], folders=[[name, 0o700]])
    with pytest.raises(Refusal):
        update([name, "l", 0, 0, 0, "x", ""], links=[[name, "x"]])
    assert [path.name for path in Path(place.root).parent.iterdir() if not path.name.startswith(".")] == []


@pytest.mark.parametrize("rubbish", [b"", b"\0" * 7, b"\xff" * 8, b"\0\0\0\1\0\0\0\0{", join({}, [], [])[:-1]])
def test_what_is_no_parcel_is_refused(line: Intake, rubbish: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (whatever it says, it becomes the reason of a refusal)
        line.accept(rubbish)


def test_a_frame_of_another_kind_is_no_parcel() -> None:
    for kind, payload in ((b"?", b"x"), (b"p", b"no zlib"), (b"z", b"no zstd")):
        with pytest.raises(ValueError):  # noqa: PT011  (likewise)
            Codec().unpack(kind, payload)


@pytest.mark.parametrize(
    ("made", "ordered"),
    [
        ("folder", {"files": ["x"]}),
        ("folder", {"links": [["x", "a"]]}),
        ("file", {"folders": [["x", 0o755]]}),
        ("link", {"folders": [["x", 0o755]]}),
    ],
)
def test_what_the_job_made_in_the_way_is_refused(place: Place, line: Intake, made: str, ordered: Json) -> None:
    line.accept(files(a=b"1"))
    assert update(row("a", b"1"))
    path = Path(place.root, "x")
    if made == "folder":
        fill(path, {"by the job": b""})
    elif made == "file":
        path.touch()
    else:
        path.symlink_to("/tmp")
    before = tree(place.root)
    items = [row("a", b"1")]
    if "files" in ordered:
        place.open_stage()
        Intake(place).accept(files(x=b"2"))
        items.append(row("x", b"2"))
    items += [[name, "d", 0, 0, mode, "", ""] for name, mode in ordered.get("folders", [])]
    items += [[name, "l", 0, 0, 0, target, ""] for name, target in ordered.get("links", [])]
    with pytest.raises(Refusal, match="x is "):
        update(*items, **ordered)
    assert tree(place.root) == before
    path.rename(path.with_name("out of the way"))
    assert update(*items, **ordered)


DENIED = {"EACCES": "cannot be written to", "EXDEV": "lies on another disk"}


@pytest.mark.parametrize("problem", ["EACCES", "EXDEV", "long name", "long path", "long link", "no link"])
def test_what_the_disk_would_refuse_is_refused_before_anything_is_decided(
    place: Place, line: Intake, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ["d", "d", 0, 0, 0o755, "", ""]
    line.accept(files(a=b"1"))
    assert update(folder, row("a", b"1"), folders=[["d", 0o755]])
    before = tree(place.root)
    bad = {"long name": "x" * 256, "long path": "/".join(["x" * 200] * 21)}.get(problem, "d/x")
    target = {"long link": "t" * 5000, "no link": ""}.get(problem, "a")
    items = [row("a", b"2"), folder, [bad, "l", 0, 0, 0, target, ""]]
    place.open_stage()
    again = Intake(place)
    again.accept(files(a=b"2"))
    with monkeypatch.context() as patch:
        real = os.stat
        if problem == "EACCES":  # the tests may run as root
            patch.setattr(os, "access", lambda path, how: not path.endswith("/d"))
        if problem == "EXDEV":

            def stat_of(path: Any, **named: Any) -> Any:
                return (
                    os.stat_result((*real(path)[:2], -1, *real(path)[3:]))
                    if str(path).endswith("/d")
                    else real(path, **named)
                )

            patch.setattr(os, "stat", stat_of)
        expected = DENIED.get(problem, "too long|which is no path|cannot be linked to")
        with pytest.raises(Refusal, match=expected):
            update(*items, links=[[bad, target]])
    assert not Path(place.journal).exists()
    assert tree(place.root) == before
    assert update(row("a", b"2"), folder)
    again.close()


def test_an_operation_that_fails_oddly_is_told_and_the_agent_lives(connection: Any) -> None:
    with session.session(connection) as wire:
        for request in ({"op": "no such"}, {"op": "state"}, {"op": "leaves", "root": ROOT, "name": 5}):
            with pytest.raises(TransferError, match=r"on the machine: (KeyError|TypeError|AttributeError): "):
                session.ask(wire, **request)
        assert session.ask(wire, op="hello")["cpus"]


EVIL = frame_of(b"P", NUMBER.pack(1) + files(**{"../a": b"1"}))
ODD = frame_of(b"J", b'{"odd": 1}')


@pytest.mark.parametrize(
    ("asked", "then"), [("take", EVIL), ("give", ODD), ("no such", EVIL)], ids=["take", "give", "none"]
)
def test_what_comes_after_a_stream_failed_is_no_request(connection: Any, asked: str, then: bytes) -> None:
    """One answer, the error; a request that was sent behind the stream is none either."""
    answers = []
    with session.session(connection) as wire:
        wire.send_json({"op": asked, "root": ROOT})
        wire.stream.write(then * 3)
        wire.send_json({"end": True})
        wire.send_json({"op": "drop", "root": "gpurun/another/code"})
        wire.stream.close_input()
        with contextlib.suppress(HostUnreachable):  # so the end of it reads
            while True:
                answers.append(json.loads(bytes(wire.receive()[1])))
        wire.close()
    assert {"error"} == {key for answer in answers for key in answer}
    assert len(answers) == 1 + (asked == "no such")
    assert not (connection.home / "gpurun/another").exists()
