"""The machine's side of an upload, in this process: what it stages is verified, and put in place wholly or not."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from launcher.agent import clone, commit, copies, settle, state
from launcher.agent.codec import Codec
from launcher.agent.hashes import LEAF_BYTES, digest_of
from launcher.agent.intake import Intake
from launcher.agent.parcels import NUMBER, join
from launcher.agent.place import Place
from launcher.agent.record import contents_digest, line_of, state_digest
from launcher.agent.serve import OPERATIONS
from launcher.agent.wire import Refusal, frame_of
from launcher.domain import TransferProgress
from launcher.errors import HostUnreachable, TransferError
from launcher.sync.local import ignore
from launcher.sync.local.tree import scan
from launcher.sync.up import upload
from launcher.sync.up.far_folder import FarFolder
from launcher.sync.wire import session

ROOT = "gpurun/r/code"
Json = Any


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A folder on a machine whose home is a new one."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = Place(str(tmp_path / "home" / ROOT))
    Path(found.root).parent.mkdir(parents=True)
    found.open_stage()
    return found


@pytest.fixture
def line(place: Place) -> Iterator[Intake]:
    """What one line's process has open."""
    opened = Intake(place)
    yield opened
    opened.close()


def files(**contents: bytes) -> bytes:
    rows = [[name, len(content), 7, 0o644] for name, content in contents.items()]
    return join({"files": rows}, [digest_of(content) for content in contents.values()], [*contents.values()])


def part(name: str, size: int, offset: int, content: bytes, **changes: Json) -> bytes:
    digest = changes.get("digest", digest_of(content))
    return join({"parts": [name, size, 7, [[offset, len(content), 0]]]}, [digest], [content])


def seal(name: str, content: bytes) -> bytes:
    return join({"seal": [name, len(content), 7, 0o644]}, [digest_of(content)], [])


def row(name: str, content: bytes) -> list[Json]:
    return [name, "f", len(content), 7, 0o644, "", digest_of(content).hex()]


def update(*items: Json, **order: Json) -> bool:
    """Order what was staged to be put in place, and tell whether it was."""
    order = {"delete": [], "folders": [], "links": [], "meta": [], **order}
    expect = contents_digest(sorted(items))
    return bool(commit.commit(None, {"root": ROOT, "expect": expect, **order})["committed"])  # type: ignore[arg-type]


def tree(root: str | Path) -> dict[str, object]:
    """All of it: links, modes, times and contents."""
    found: dict[str, object] = {}
    for path in sorted(Path(root).rglob("*")):
        info = path.lstat()
        if path.is_symlink():
            line: object = path.readlink()
        elif path.is_dir():
            line = stat.S_IMODE(info.st_mode)
        else:
            line = (stat.S_IMODE(info.st_mode), info.st_mtime_ns, path.read_bytes())
        found[str(path.relative_to(root))] = line
    return found


BIG = os.urandom(3 * LEAF_BYTES + 5)


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


def test_an_order_that_comes_twice_is_done_once(place: Place) -> None:
    first, second = Intake(place), Intake(place)
    for offset in range(0, len(BIG), LEAF_BYTES):
        for line in (first, second):
            assert line.accept(part("big", len(BIG), offset, BIG[offset : offset + LEAF_BYTES])) == ""
    assert first.accept(seal("big", BIG)) == ""
    assert second.accept(seal("big", BIG)) == ""
    assert first.accept(seal("big", BIG)) == ""
    # Late, from a line that broke: the file that is whole keeps its time.
    assert second.accept(part("big", len(BIG), 0, bytes(LEAF_BYTES))) == ""
    assert second.accept(seal("big", BIG)) == ""
    assert place.staged_rows() == {"big": row("big", BIG)}
    assert update(row("big", BIG))
    assert tree(place.root) == {"big": (0o644, 7, BIG)}
    assert second.accept(part("big", len(BIG), 0, bytes(LEAF_BYTES))) == "another upload has ended this one"
    assert first.accept(files(big=b"late")) == "another upload has ended this one"
    assert tree(place.root) == {"big": (0o644, 7, BIG)}
    first.close()
    second.close()


def test_a_seal_that_was_cut_off_is_done_again(place: Place, line: Intake) -> None:
    for offset in range(0, len(BIG), LEAF_BYTES):
        line.accept(part("big", len(BIG), offset, BIG[offset : offset + LEAF_BYTES]))
    for steps in range(20):
        with die_after(steps) as died:
            line.accept(seal("big", BIG))
        line = Intake(place)
        if not died:
            break
    else:
        raise AssertionError("it never came to an end")
    assert update(row("big", BIG))
    assert tree(place.root) == {"big": (0o644, 7, BIG)}


def test_what_is_sent_anew_is_no_copy_of_a_file_in_place(place: Place, line: Intake) -> None:
    """A renamed file is linked into the stage: who writes over it there must not change what is in place."""
    line.accept(files(old=BIG))
    assert update(row("old", BIG))
    moved = ["old", "new", len(BIG), 7, 0o644, digest_of(BIG).hex(), True]
    assert copies.copies(None, {"root": ROOT, "items": [moved]}) == {"bad": []}  # type: ignore[arg-type]
    again = Intake(place)
    assert again.accept(files(new=b"changed meanwhile")) == ""
    assert tree(place.root) == {"old": (0o644, 7, BIG)}
    assert update(row("new", b"changed meanwhile"), delete=["old"])
    assert tree(place.root) == {"new": (0o644, 7, b"changed meanwhile")}
    again.close()


def test_a_copy_is_verified(place: Place, line: Intake) -> None:
    line.accept(files(old=BIG, other=BIG[1:]))
    assert update(row("old", BIG), row("other", BIG[1:]))
    good = digest_of(BIG).hex()
    wanted: list[list[Json]] = [
        ["old", "same", len(BIG), 9, 0o600, good, False],
        ["old", "wrong digest", len(BIG), 9, 0o600, digest_of(b"").hex(), False],
        ["old", "wrong, moved", len(BIG), 7, 0o644, digest_of(b"").hex(), True],
        ["other", "wrong size", len(BIG), 9, 0o600, good, False],
        ["not there", "nothing", 1, 9, 0o600, good, False],
        [{"store": f"{len(BIG)}-{good}"}, "not stored", len(BIG), 9, 0o600, good, False],
    ]
    bad = copies.copies(None, {"root": ROOT, "items": wanted})["bad"]  # type: ignore[arg-type]
    assert sorted(bad) == sorted(item[1] for item in wanted[1:])
    assert [*place.staged_rows()] == ["same"]


def test_what_an_earlier_upload_left_makes_way(place: Place, line: Intake) -> None:
    left = {"f": b"file then", "d/inside": b"folder then", "gone/deep/x": b"x", "half": b"half"}
    line.accept(files(**left))
    Path(place.tree, "no line of its own").write_bytes(b"cut off in the middle")
    now = Intake(place)
    assert now.accept(files(**{"f/inside": b"folder now", "d": b"file now"})) == ""
    items = [["f", "d", 0, 0, 0o755, "", ""], row("f/inside", b"folder now"), row("d", b"file now")]
    assert update(*items, folders=[["f", 0o755]], files=["f/inside", "d"])
    assert tree(place.root) == {
        "d": (0o644, 7, b"file now"),
        "f": 0o755,
        "f/inside": (0o644, 7, b"folder now"),
    }
    assert not Path(place.stage).exists()
    now.close()


def test_a_staged_file_that_was_touched_does_not_count(place: Place, line: Intake) -> None:
    line.accept(files(a=b"12", b=b"34"))
    Path(place.tree, "a").write_bytes(b"123")
    assert [*place.staged_rows()] == ["b"]
    assert not update(row("a", b"12"), row("b", b"34"))


def test_a_staged_content_of_another_upload_is_not_taken_for_ours(place: Place, line: Intake) -> None:
    """The same name, size and time: only the digest tells."""
    line.accept(files(a=b"mine"))
    line.accept(files(a=b"your"))
    assert not update(row("a", b"mine"))
    assert not Path(place.root).exists()


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


def test_nothing_is_removed_through_a_link(place: Place, line: Intake, tmp_path: Path) -> None:
    line.accept(files(**{"d/x": b"1"}))
    assert update(["d", "d", 0, 0, 0o755, "", ""], row("d/x", b"1"), folders=[["d", 0o755]])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x").write_bytes(b"not ours")
    os.utime(tmp_path / "elsewhere/x", ns=(7, 7))
    shutil.rmtree(Path(place.root, "d"))
    Path(place.root, "d").symlink_to(tmp_path / "elsewhere")
    # It lies there no more, though a look through the link would find the same.
    now = {entry[0]: entry[1] for entry in state.entries(None, {"root": ROOT})["entries"]}  # type: ignore[arg-type]
    assert now == {"d": "l", "d/x": ""}
    assert update(delete=["d", "d/x"])
    assert tree(place.root) == {}
    assert (tmp_path / "elsewhere/x").read_bytes() == b"not ours"


def test_two_trees_never_have_one_digest() -> None:
    one = [["a", "l", 0, 0, 0, "x", ""], ["y\nz", "f", 0, 0, 0, "", ""]]
    other = [["a", "l", 0, 0, 0, "x\ny", ""], ["z", "f", 0, 0, 0, "", ""]]
    assert state_digest(map(line_of, one)) != state_digest(map(line_of, other))


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_record_that_cannot_be_read_counts_as_none(place: Place, line: Intake, record: bytes) -> None:
    line.accept(files(a=b"1"))
    assert update(row("a", b"1"))
    Path(place.record).write_bytes(record)
    assert state.state(None, {"root": ROOT})["digest"] == ""  # type: ignore[arg-type]
    assert state.entries(None, {"root": ROOT}) == {"entries": []}  # type: ignore[arg-type]


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


def test_a_time_that_the_disk_cannot_hold_counts_as_the_one_that_was_wanted(
    place: Place, line: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk of whole seconds, whatever the test's own can hold."""
    real = os.utime

    def coarse(file: Any, *, ns: tuple[int, int]) -> None:
        real(file, ns=(ns[0], ns[1] // 10**9 * 10**9))

    monkeypatch.setattr(os, "utime", coarse)
    for offset in range(0, len(BIG), LEAF_BYTES):
        line.accept(part("big", len(BIG), offset, BIG[offset : offset + LEAF_BYTES]))
    assert line.accept(seal("big", BIG)) == ""
    assert line.accept(files(a=b"1", b=b"2")) == ""
    wanted = ["a", "copy", 1, 7, 0o644, digest_of(b"1").hex(), False]
    assert copies.copies(None, {"root": ROOT, "items": [wanted]}) == {"bad": []}  # type: ignore[arg-type]
    items = [row("a", b"1"), row("b", b"2"), row("big", BIG), row("copy", b"1")]
    told = state.staged(None, {"root": ROOT})["rows"]  # type: ignore[arg-type]
    assert sorted(told) == items
    assert update(*items)
    assert Path(place.root, "big").stat().st_mtime_ns == Path(place.root, "copy").stat().st_mtime_ns == 0
    again = [[*row("a", b"1")[:3], 10**9 + 5, 0o644, "", digest_of(b"1").hex()], *items[1:]]
    for lines, meta in ((items, []), (again, [["a", 10**9 + 5, 0o644]])):
        if meta:
            assert update(*lines, meta=meta)
        found = place.recorded()
        assert found
        assert state.all_untouched(place.root, found["items"])
        assert state.state(None, {"root": ROOT})["digest"] == state_digest(map(line_of, lines))  # type: ignore[arg-type]
        assert state.entries(None, {"root": ROOT})["entries"] == lines  # type: ignore[arg-type]
    os.utime(Path(place.root, "b"), ns=(0, 5 * 10**9))
    now = {entry[0]: entry[6] for entry in state.entries(None, {"root": ROOT})["entries"]}  # type: ignore[arg-type]
    assert [name for name, digest in now.items() if not digest] == ["b"]


def test_a_link_as_it_was_put_counts_as_untouched(place: Place, line: Intake) -> None:
    line.accept(files(a=b"1"))
    assert update(row("a", b"1"), ["l", "l", 0, 0, 0, "a", ""], links=[["l", "a"]])
    items = place.items()
    assert state.all_untouched(place.root, items)
    link = Path(place.root, "l")
    link.unlink()
    assert not state.all_untouched(place.root, items)
    link.touch()
    assert not state.all_untouched(place.root, items)
    link.unlink()
    link.symlink_to("b")
    assert not state.all_untouched(place.root, items)


def test_what_lay_below_many_lost_folders_is_gone(place: Place, line: Intake) -> None:
    names = [f"{number}/d" for number in range(200)]
    line.accept(files(**{f"{name}/x": b"1" for name in names}))
    folders = [name for number in range(200) for name in (str(number), f"{number}/d")]
    items = [[name, "d", 0, 0, 0o755, "", ""] for name in folders] + [row(f"{name}/x", b"1") for name in names]
    assert update(*items, folders=[[name, 0o755] for name in folders])
    for number in range(1, 200):
        Path(place.root, str(number)).rename(Path(place.root, f"moved{number}"))
        Path(place.root, str(number)).symlink_to(f"moved{number}")
    told = {item[0]: now[1] for item, now in state.lying(place)}
    assert {name for name, kind in told.items() if kind not in {"", "l"}} == {"0", "0/d", "0/d/x"}
    assert told["1"] == "l"
    assert told["1/d/x"] == ""


def test_a_line_that_a_full_disk_cuts_does_not_spoil_the_next(
    place: Place, line: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, room = os.write, [100, 0]

    def short(descriptor: int, data: Any) -> int:
        if descriptor != line.rows or not room:
            return real(descriptor, data)
        count = room.pop(0)
        if not count:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:count])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="No space"):
        line.accept(files(a=b"1", b=b"2"))
    assert room == []
    assert line.accept(files(c=b"3")) == ""
    assert place.staged_rows() == {"c": row("c", b"3")}
    room[:] = [10]
    assert line.accept(files(d=b"4")) == ""
    assert [*place.staged_rows()] == ["c", "d"]


def test_a_seal_that_is_cut_off_does_not_pass_off_another_content(place: Place, line: Intake) -> None:
    """Of the same name, size, time and mode: the line of the new one must not stand for the old one."""
    for steps in range(20):
        other = bytes(LEAF_BYTES) + BIG[LEAF_BYTES:]
        with die_after(steps) as died:
            for content in (BIG, other):
                for offset in range(0, len(BIG), LEAF_BYTES):
                    line.accept(part("big", len(BIG), offset, content[offset : offset + LEAF_BYTES]))
                line.accept(seal("big", content))
        for name, found in place.staged_rows().items():
            assert digest_of(Path(place.tree, name).read_bytes()).hex() == found[6], steps
        shutil.rmtree(place.stage)
        place.open_stage()
        line = Intake(place)
        if not died:
            return
    raise AssertionError("it never came to an end")


def test_a_clock_that_was_set_back_does_not_hide_what_is_whole(
    place: Place, line: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert line.accept(files(a=b"then")) == ""
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    later = Intake(place)
    assert later.accept(files(a=b"by now")) == ""
    assert place.staged_rows() == {"a": row("a", b"by now")}
    later.close()


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


@pytest.mark.parametrize("heal", ["drop", "state"])
def test_a_decided_update_that_cannot_be_finished_is_given_up(
    place: Place, line: Intake, heal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.accept(files(a=b"1", b=b"1", c=b"1"))
    assert update(row("a", b"1"), row("b", b"1"), row("c", b"1"))
    place.open_stage()
    again = Intake(place)
    again.accept(files(a=b"2", b=b"2"))
    replace = os.replace

    def full(source: str, target: str) -> None:
        if target == f"{place.root}/b":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            update(row("a", b"2"), row("b", b"2"), row("c", b"1"))
    with pytest.raises(OSError, match="No space"):
        settle.settle(place.root)
    answer = OPERATIONS[heal](None, {"root": ROOT})  # type: ignore[arg-type]
    assert answer.get("failed", "OSError: [Errno 28] No space left on device").startswith(
        "OSError: [Errno 28] No space"
    )
    assert ("failed" in answer) == (heal == "drop")
    assert not Path(place.stage).exists()
    # Half of it lies there: nothing may start, and what may have changed has no digest, though size and time are so.
    with pytest.raises(Refusal, match="sent again"):
        settle.settle(place.root)
    assert state.state(None, {"root": ROOT})["digest"] == "half"  # type: ignore[arg-type]
    told = {entry[0]: entry[6] for entry in state.entries(None, {"root": ROOT})["entries"]}  # type: ignore[arg-type]
    assert told == {"a": "", "b": "", "c": digest_of(b"1").hex()}
    monkeypatch.undo()
    monkeypatch.setenv("HOME", str(Path(place.root).parents[2]))
    place.open_stage()
    last = Intake(place)
    last.accept(files(a=b"2", b=b"2"))
    assert update(row("a", b"2"), row("b", b"2"), row("c", b"1"))
    settle.settle(place.root)
    assert state.state(None, {"root": ROOT})["digest"] not in {"", "half"}  # type: ignore[arg-type]
    last.close()
    again.close()


def test_a_push_after_an_update_that_cannot_be_finished_sends_anew(
    tmp_path: Path, connection: Any, lines: Any, ordered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = old_and_new(tmp_path / "code")
    upload.push(lines, scan(next(trees), ignore=ignore.nothing()), ROOT, silent, "code")
    new = tree(next(trees))
    order = ordered(tmp_path / "code")
    there = Place(str(connection.home / ROOT))
    with monkeypatch.context() as patch:
        patch.setattr(os, "symlink", no_room_after(os.symlink, 1))
        with pytest.raises(OSError, match="No space"):
            commit.commit(None, order)  # type: ignore[arg-type]
    journal = Path(there.journal)
    journal.write_text(journal.read_text().replace('"to_link"', f'"{"x" * 300}"'))  # for ever
    upload.push(lines, scan(tmp_path / "code", ignore=ignore.nothing()), ROOT, silent, "code")
    assert tree(there.root) == new
    settle.settle(there.root)


def no_room_after(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    left = [None] * count

    def call(*arguments: Any) -> Any:
        if not left:
            raise OSError(28, "No space left on device")
        left.pop()
        return function(*arguments)

    return call


class Died(BaseException):
    """Here the process was killed."""


STEPS = ("rename", "replace", "unlink", "rmdir", "symlink", "chmod", "fchmod", "utime", "mkdir", "link", "write")


class die_after:  # noqa: N801  (a context manager that reads as one)
    """Every call that changes the disk may be the last; true when the end was reached."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.patch = pytest.MonkeyPatch()
        self.died = False

    def __bool__(self) -> bool:
        return self.died

    def __enter__(self) -> Self:
        for name in STEPS:
            self.patch.setattr(os, name, self.counted(getattr(os, name)))
        return self

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if not self.left:
                self.died = True
                raise Died
            self.left -= 1
            return function(*arguments, **named)

        return call

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.patch.undo()
        return kind is Died


@pytest.fixture
def ordered(connection: Any, lines: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], dict[str, Json]]:
    """Push a folder but for the last order, which is given back."""

    class Held(Exception):
        """Nothing was put in place yet."""

    def hold(root: Path) -> dict[str, Json]:
        orders: list[dict[str, Json]] = []
        say = FarFolder.say

        def held(folder: FarFolder, what: str, **request: Json) -> None:
            if what == "commit":
                orders.append(request)
            else:
                say(folder, what, **request)

        def unanswered(folder: FarFolder) -> None:
            raise Held

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FarFolder, "say", held)
            patch.setattr(FarFolder, "commit", unanswered)
            with pytest.raises(Held):
                upload.push(lines, scan(root, ignore=ignore.nothing()), ROOT, silent, "code")
        return {"root": ROOT, **orders[0]}

    monkeypatch.setenv("HOME", str(connection.home))
    return hold


def fill(root: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def old_and_new(root: Path) -> Iterator[Path]:
    """A folder, twice: everything that can become something else does."""
    fill(root, {"same": b"same", "changed": b"old", "gone": b"gone", "mode": b"mode", "touched": b"touched"})
    fill(root, {"to_folder": b"file", "to_file/inside": b"1", "to_link/x": b"1", "other/x": b"must stay"})
    fill(root, {"gone_folder/deep/x": b"1", "job/mine": b"1", "renamed": b"r" * 10_000, "big": BIG})
    (root / "link_to_file").symlink_to("same")
    (root / "link_to_folder").symlink_to("other")
    (root / "empty").mkdir()
    yield root
    fill(root, {"changed": b"new", "new/deep/x": b"1", "big": b"changed" + BIG})
    for name in ("gone", "to_folder", "link_to_file", "link_to_folder"):
        (root / name).unlink()
    for name in ("to_file", "to_link", "gone_folder", "job"):
        shutil.rmtree(root / name)
    fill(root, {"to_folder/inside": b"2", "to_file": b"2", "link_to_file": b"2", "link_to_folder/x": b"2"})
    (root / "to_link").symlink_to("other")
    (root / ("l" * 255)).symlink_to("same")
    (root / "mode").chmod(0o755)
    (root / "empty").chmod(0o750)
    os.utime(root / "touched", ns=(5, 5))
    (root / "renamed").rename(root / "under another name")
    yield root


def test_an_update_that_is_cut_anywhere_is_finished_by_whoever_comes_next(
    tmp_path: Path, connection: Any, lines: Any, ordered: Any
) -> None:
    trees = old_and_new(tmp_path / "code")
    upload.push(lines, scan(next(trees), ignore=ignore.nothing()), ROOT, silent, "code")
    there = connection.home / ROOT
    (there / "job/by the job").write_bytes(b"left alone")
    old, new = tree(there), tree(next(trees))
    new["job"], new["job/by the job"] = old["job"], old["job/by the job"]
    order = ordered(tmp_path / "code")
    assert tree(there) == old
    decided = _cut_anywhere(there, order, old, new)
    assert decided > 40


def test_a_first_upload_that_is_cut_anywhere_is_finished_by_whoever_comes_next(
    tmp_path: Path, connection: Any, ordered: Any
) -> None:
    root = next(old_and_new(tmp_path / "code"))
    order = ordered(root)
    assert _cut_anywhere(connection.home / ROOT, order, {}, tree(root)) > 10


def _cut_anywhere(there: Path, order: Json, old: dict[str, object], new: dict[str, object]) -> int:
    """Kill a commit after each of its steps, and him who would finish it as well; gives how many steps there were."""
    run, saved = there.parent, there.parent.with_name("saved")
    run.rename(saved)
    decided = 0
    for steps in range(1000):
        shutil.copytree(saved, run, symlinks=True)
        with die_after(steps) as died:
            commit.commit(None, order)  # type: ignore[arg-type]
        if Path(Place(str(there)).journal).exists():
            decided += 1
            with die_after(steps * 7 % 23):
                settle.settle(str(there))
        settle.settle(str(there))
        assert tree(there) == (new if decided else old), steps
        shutil.rmtree(run)
        if not died:
            return decided
    raise AssertionError("it never came to an end")


def test_zeros_are_zeros_also_over_a_clone_that_was_cut_off(place: Place, line: Intake) -> None:
    old = os.urandom(2 * LEAF_BYTES)
    Path(place.root).mkdir(parents=True)
    (Path(place.root) / "big").write_bytes(old)
    size = len(old)
    clone.clone(
        None,
        {"root": place.root, "name": "big", "base": "big", "size": size, "mtime_ns": 5, "copies": [[0, 0, size]]},
    )
    new = bytes(size)
    header = {"parts": ["big", size, 5, [[0, size, 1]]]}
    assert line.accept(join(header, [digest_of(new)], [])) == ""
    assert line.accept(join({"seal": ["big", size, 5, 0o644]}, [digest_of(new)], [])) == ""
    assert (Path(place.tree) / "big").read_bytes() == new
