"""A far side that lies about what it has: refused in words, nothing outside the folder, nothing kept."""

from __future__ import annotations

import itertools
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.agent.hashes import digest_of
from launcher.agent.parcels import NUMBER, join
from launcher.agent.wire import HEADER
from launcher.domain import TransferProgress
from launcher.errors import TransferError
from launcher.sync import names
from launcher.sync.down import download
from launcher.sync.down.answers import opened
from launcher.sync.down.listing import listing_of
from launcher.sync.layout import RemoteLayout
from launcher.sync.wire import codec
from launcher.sync.wire.codec import zstd

from .false_agent import FalseSide, Json, answer, frame, request_in

ROOT = RemoteLayout("r").output


def row(name: str, size: Json = 1, **changes: Json) -> list[Json]:
    """A line as the agent makes it."""
    values = {"name": name, "kind": "f", "size": size, "mtime": 0, "mode": 0o644, "target": "", "inode": 1, **changes}
    return list(values.values())


def link(name: str, target: str) -> list[Json]:
    return row(name, 0, kind="l", target=target)


def parcel(number: int, contents: list[bytes], kind: bytes = b"P", **changes: Json) -> bytes:
    """A true one, but for the changes."""
    header = {"rows": changes.get("rows", ["whole"] * len(contents))}
    digests = changes.get("digests", [digest_of(content) for content in contents])
    body = join(header, digests, contents)
    return frame(kind, NUMBER.pack(number) + (changes["pack"](body) if "pack" in changes else body))


class Far(FalseSide):
    """A machine that is true to `files` where nothing else is said."""

    def __init__(self, files: dict[str, bytes], /, **lies: Callable[..., bytes]) -> None:
        super().__init__()
        self.files = files
        self.lies = lies
        self.looks = itertools.count()

    def answer(self, kind: bytes, payload: bytes) -> bytes:
        request = request_in(kind, payload)
        word = request.get("op") or next(word for word in ("end", "hold", "range", "files") if word in request)
        return self.lies.get(word, getattr(self, f"do_{word}"))(request)

    def rows(self, request: dict[str, Json]) -> list[Json]:
        wanted = request.get("names")
        return [row(name, len(self.files[name])) for name in self.files if wanted is None or name in wanted]

    def do_hello(self, request: Json) -> bytes:
        return answer({"cpus": 1})

    def do_look(self, request: Json) -> bytes:
        return answer({"entries": self.rows(request), "skipped": []})

    def do_hash(self, request: Json) -> bytes:
        rows = [[name, len(self.files[name]), 0, digest_of(self.files[name]).hex()] for name in request["names"]]
        return answer({"digests": rows})

    def do_give(self, request: Json) -> bytes:
        return b""

    def do_end(self, request: Json) -> bytes:
        return answer({})

    def do_files(self, request: Json) -> bytes:
        return parcel(request["n"], [self.files[name] for name, *_ in request["files"]])

    def do_range(self, request: Json) -> bytes:
        name, offset, length, *_ = request["range"]
        return parcel(request["n"], [self.files[name][offset : offset + length]])

    def do_hold(self, request: Json) -> bytes:
        held = {
            "entries": [row(name, len(self.files[name])) for name in request["hold"]],
            "digests": {name: digest_of(self.files[name]).hex() for name in request["hold"]},
        }
        return frame(b"A", NUMBER.pack(request["n"]) + json.dumps(held).encode())


def pull(far: Far, dest: Path, notes: list[str] | None = None) -> Any:
    def silent(progress: TransferProgress) -> None:
        """Nobody watches."""

    return download.pull(far, ROOT, dest, silent, "results", note=([] if notes is None else notes).append)


def listing(*rows: list[Json], **more: Json) -> Far:
    return Far({"a": b"x"}, look=lambda request: answer({"entries": rows, "skipped": [], **more}))


def giving(lie: Callable[[int, bytes], bytes], content: bytes = b"x") -> Far:
    """Lies about small files: made from the number and the content asked for."""
    return Far({"a": content}, files=lambda request: lie(request["n"], content))


BIG = bytes(range(256)) * 2048


def ranging(lie: Callable[[int, bytes], bytes]) -> Far:
    """Lies about pieces of a large file."""

    def do_range(request: Json) -> bytes:
        _, offset, length, *_ = request["range"]
        return lie(request["n"], BIG[offset : offset + length])

    return Far({"a": BIG}, range=do_range)


def holding(**changes: Json) -> Far:
    """Lies about a file that changed."""

    def do_hold(request: Json) -> bytes:
        held = {"entries": [row("a")], "digests": {"a": digest_of(b"x").hex()}, **changes}
        return frame(b"A", NUMBER.pack(request["n"]) + json.dumps(held).encode())

    return Far({"a": b"x"}, files=lambda request: parcel(request["n"], [], rows=["changed"]), hold=do_hold)


def hashing(*rows: Json) -> Far:
    return Far({"a": b"x"}, hash=lambda request: answer({"digests": rows}))


def later_look(*rows: Json) -> Far:
    """Lies when it is asked a second time."""
    far = Far({"a": b"x"})
    far.lies["look"] = lambda request: far.do_look(request) if "names" not in request else answer({"entries": rows})
    return far


NAN, INFINITY = float("nan"), float("inf")

NAMES: dict[str, Far] = {
    "up": listing(row("../evil")),
    "up in the middle": listing(row("a/../../evil")),
    "absolute": listing(row("/tmp/evil")),
    "NUL": listing(row("evil\0.txt")),
    "empty": listing(row("")),
    "a number": listing(row(1)),  # type: ignore[arg-type]
    "no text": listing(row("\ud800")),
    "a dot": listing(row("./a")),
    "link out": listing(link("a", "../../evil")),
    "link absolute": listing(link("a", "/etc")),
    "link up behind a step": listing(link("a", "b/../../evil")),
    "through a link": listing(link("a", "b"), row("a/evil")),
    "below a file": listing(row("a"), row("a/evil")),
    "twice": listing(row("a"), row("a")),
    "twice, of two kinds": listing(row("a"), link("a", "b")),
    "our partial folder": listing(row(".partial-gpurun-kept/evil")),
    "our partial folder in capitals": listing(row(".PARTIAL-GPURUN-kept/evil")),
}

FIGURES: dict[str, Far] = {
    "negative size": listing(row("a", -1)),
    "a size that is NaN": listing(row("a", NAN)),
    "a size that is a fraction": listing(row("a", 1.0)),
    "a size that is true": listing(row("a", True)),
    "a size that is text": listing(row("a", "1")),
    "exabytes": listing(row("a", 1 << 60)),
    "exabytes of nothing": listing([*row("a", 1 << 60), []]),
    "terabytes of nothing": listing([*row("a", 4 << 40), []]),
    "beyond any file system": listing(row("a", 1 << 70)),
    "mtime beyond the end of time": listing(row("a", mtime=1 << 70)),
    "mtime that is infinite": listing(row("a", mtime=INFINITY)),
    "mode that is no number": listing(row("a", mode=None)),
    "mode below zero": listing(row("a", mode=-1)),
    "inode of another type": listing(row("a", inode="1")),
    "odd kind": listing(row("a", kind="device")),
    "too few columns": listing(row("a")[:3]),
    "too many columns": listing([*row("a"), [], 1]),
    "runs beyond the end": listing([*row("a", 1 << 20), [[0, 1 << 21]]]),
    "runs that overlap": listing([*row("a", 1 << 20), [[0, 1 << 15], [1 << 14, 1 << 15]]]),
    "runs off the leaf": listing([*row("a", 1 << 20), [[1, 1 << 14]]]),
    "runs below zero": listing([*row("a", 1 << 20), [[-(1 << 14), 1 << 14]]]),
    "no list": Far({}, look=lambda request: answer({"entries": 5})),
    "no entries": Far({}, look=lambda request: answer({})),
    "odd list of left-out files": listing(skipped=[1]),
}

CONTENT: dict[str, Far] = {
    "wrong digest": giving(lambda n, data: parcel(n, [data], digests=[digest_of(b"y")])),
    "wrong digest, large": ranging(lambda n, data: parcel(n, [data], digests=[digest_of(b"y")])),
    "no digest": giving(lambda n, data: parcel(n, [data], digests=[])),
    "two digests": giving(lambda n, data: parcel(n, [data], digests=[digest_of(data)] * 2)),
    "more content than announced": giving(lambda n, data: parcel(n, [data + b"y"])),
    "less content than announced": giving(lambda n, data: parcel(n, [data[:-1]])),
    "more of a piece": ranging(lambda n, data: parcel(n, [data + b"y"])),
    "less of a piece": ranging(lambda n, data: parcel(n, [data[:-1]])),
    "another number": giving(lambda n, data: parcel(n + 1, [data])),
    "another piece's number": ranging(lambda n, data: parcel(n + 7, [data])),
    "no number": giving(lambda n, data: frame(b"P", b"\0")),
    "too many rows": giving(lambda n, data: parcel(n, [data, data])),
    "too few rows": giving(lambda n, data: parcel(n, [])),
    "a row of another kind": giving(lambda n, data: parcel(n, [data], rows=["fine"])),
    "a row that is a number": giving(lambda n, data: parcel(n, [data], rows=[1])),
    "a hole for a small file": giving(lambda n, data: parcel(n, [], rows=["hole"])),
    "a hole with content": ranging(lambda n, data: parcel(n, [data], rows=["hole"])),
    "a reason that is none": giving(lambda n, data: parcel(n, [], rows=[["unreadable", 5]])),
    "a zlib bomb": giving(lambda n, data: parcel(n, [bytes(1 << 28)], b"p", pack=zlib.compress)),
    "a zstd bomb": giving(lambda n, data: parcel(n, [bytes(1 << 28)], b"z", pack=zstd.compress)),
    "a bomb for a piece": ranging(lambda n, data: parcel(n, [bytes(1 << 28)], b"z", pack=zstd.compress)),
    "zstd rubbish": giving(lambda n, data: parcel(n, [data], b"z")),
    "zlib rubbish": giving(lambda n, data: parcel(n, [data], b"p")),
    "zstd cut off": giving(lambda n, data: parcel(n, [data], b"z", pack=lambda body: zstd.compress(body)[:-3])),
    "two zstd frames": giving(lambda n, data: parcel(n, [data], b"z", pack=lambda body: zstd.compress(body) * 2)),
    "a header that is no JSON": giving(
        lambda n, data: frame(b"P", NUMBER.pack(n) + b"\0\0\0\1\0\0\0\0{" + data),
    ),
    "a header nested without end": giving(
        lambda n, data: frame(b"P", NUMBER.pack(n) + (900_000).to_bytes(4) + bytes(4) + b"[" * 900_000), bytes(2**18)
    ),
    "a header longer than the parcel": giving(lambda n, data: frame(b"P", NUMBER.pack(n) + b"\xff" * 8 + data)),
    "a parcel of nothing": giving(lambda n, data: frame(b"P", NUMBER.pack(n))),
    "an odd kind": giving(lambda n, data: parcel(n, [data], b"?")),
    "a refusal": giving(lambda n, data: frame(b"N", NUMBER.pack(n) + b"no \x1b[2J")),
    "an acknowledgement for data": giving(lambda n, data: frame(b"A", NUMBER.pack(n))),
    "an error": giving(lambda n, data: answer({"error": {"kind": "os", "message": "on fire"}})),
    "an end before the answers": giving(lambda n, data: answer({})),
    "a frame without end": giving(lambda n, data: HEADER.pack(b"P", 0xFFFFFFFF) + b"x" * 1000),
    "an answer nested without end": Far({}, look=lambda request: frame(b"J", b'{"a":' + b"[" * 10**6)),
    "an answer that is a bomb": Far({}, look=lambda request: frame(b"j", zlib.compress(bytes(1 << 28)))),
    "not JSON": Far({}, look=lambda request: frame(b"J", b"{")),
    "not an object": Far({}, look=lambda request: answer([1])),
    "data for an answer": Far({}, look=lambda request: frame(b"D", b"x")),
    "an error of another shape": Far({}, look=lambda request: answer({"error": "x"})),
}

HELD: dict[str, Far] = {
    "a name that was not asked for": holding(entries=[row("../evil")]),
    "another name": holding(entries=[row("a"), row("b")], digests={"a": "00" * 32, "b": "00" * 32}),
    "no digest": holding(digests={}),
    "a digest that is none": holding(digests={"a": "00"}),
    "digests that are none": holding(digests=[1]),
    "a link now": holding(entries=[link("a", "../../etc")]),
    "exabytes now": holding(entries=[row("a", 1 << 60)]),
}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing but `dest` may appear."""
    folder = tmp_path / "watched"
    folder.mkdir()
    yield folder
    assert {path.name for path in folder.iterdir()} <= {"dest"}
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize(
    "far",
    [
        pytest.param(far, id=lie.replace(" ", "-"))
        for lies in (NAMES, FIGURES, CONTENT, HELD)
        for lie, far in lies.items()
    ],
)
def test_a_lie_is_refused_and_nothing_is_kept(watched: Path, far: Far) -> None:
    with pytest.raises(TransferError) as caught:
        pull(far, watched / "dest")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1500
    assert list((watched / "dest").iterdir()) == []


def test_the_truth_is_taken(watched: Path) -> None:
    far = Far({"a": b"x", "d/b": b"", "big": BIG + b"end"})
    far.greeting = b"Welcome to Ubuntu!\r\nYou have mail.\r\n"
    pull(far, watched / "dest")
    assert (watched / "dest/a").read_bytes() == b"x"
    assert (watched / "dest/d/b").read_bytes() == b""
    assert (watched / "dest/big").read_bytes() == BIG + b"end"
    held = holding()
    pull(held, watched / "dest")
    assert sorted(path.name for path in (watched / "dest").iterdir()) == ["a", "big", "d"]


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are listed in /proc")
@pytest.mark.parametrize("word", ["wrong", "changed"])
def test_no_descriptor_stays_open(watched: Path, word: str) -> None:
    def lie(number: int, data: bytes) -> bytes:
        if word == "changed":
            return parcel(number, [], rows=["changed"])
        return parcel(number, [data], digests=[digest_of(b"y")])

    with pytest.raises(TransferError):
        pull(ranging(lie), watched / "dest")
    held = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert not [path for path in held if path.startswith(str(watched))]


def test_an_answer_may_not_come_twice(watched: Path) -> None:
    far = giving(lambda n, data: parcel(n, [data]) + parcel(n, [data]))
    with pytest.raises(TransferError, match="what it was not asked"):
        pull(far, watched / "dest")
    assert {path.name for path in (watched / "dest").iterdir()} <= {"a"}


def test_other_content_than_was_held_is_never_kept(watched: Path) -> None:
    with pytest.raises(TransferError, match="a changes while it is read"):
        pull(holding(digests={"a": digest_of(b"y").hex()}), watched / "dest")
    assert list((watched / "dest").iterdir()) == []


@pytest.mark.parametrize("rows", [[1], [["a"]], [["a", 1, 0, "zz"]], [["a", 1, 0, 5]], [[[], 1, 0, "00" * 32]]])
def test_digests_of_another_shape_are_refused(watched: Path, rows: list[Json]) -> None:
    (watched / "dest").mkdir()
    (watched / "dest/a").write_bytes(b"y")
    with pytest.raises(TransferError, match="digest"):
        pull(hashing(*rows), watched / "dest")
    assert (watched / "dest/a").read_bytes() == b"y"


def test_a_digest_of_another_file_is_no_reason_to_keep_what_is_here(watched: Path) -> None:
    (watched / "dest").mkdir()
    (watched / "dest/a").write_bytes(b"y")
    pull(hashing(["b", 1, 0, digest_of(b"y").hex()], ["a", 2, 0, digest_of(b"y").hex()]), watched / "dest")
    assert (watched / "dest/a").read_bytes() == b"x"


@pytest.mark.parametrize("rows", [[row("../evil")], [row("b")], [row("a", -1)]])
def test_a_second_look_may_not_smuggle_names_in(watched: Path, rows: list[Json]) -> None:
    with pytest.raises(TransferError):
        pull(later_look(*rows), watched / "dest")
    assert {path.name for path in (watched / "dest").iterdir()} <= {"a"}


@pytest.mark.parametrize("name", ["CON", "aux.txt", "a/LPT1", "a:b", "a\\..\\evil", "ends.", "tab\there"])
def test_names_that_windows_reads_otherwise_are_refused_there(
    watched: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(names.check_name.__kwdefaults__, "windows", True)
    with pytest.raises(TransferError, match="refused"):
        pull(Far({name: b"x"}), watched / "dest")
    assert list((watched / "dest").iterdir()) == []


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []
    unpack = codec.unpack
    monkeypatch.setattr("launcher.sync.down.answers.unpack", lambda *a: (limits.append(a[2]), unpack(*a))[1])
    bomb = zstd.compress(join({"rows": ["whole"]}, [digest_of(b"x")], [bytes(1 << 28)]))
    with pytest.raises(TransferError, match="more than"):
        opened(b"z", bomb, [1])
    assert limits[0] < 2000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(JSON | st.lists(st.tuples(st.text(), st.sampled_from("fdl"), st.integers(), JSON, JSON, JSON, JSON)))
def test_any_list_is_a_list_or_a_refusal(entries: Json) -> None:
    try:
        found = listing_of({"entries": entries})
    except TransferError:
        return
    for line in found.lines:
        names.check_name(line.name)
        assert 0 <= line.size_bytes < 1 << 63


@given(
    kind=st.sampled_from([b"P", b"p", b"z", b"N", b"A", b"J"]),
    header=JSON | st.fixed_dictionaries({"rows": JSON}),
    digests=st.integers(0, 3),
    content=st.binary(max_size=40),
    sizes=st.lists(st.integers(0, 20), max_size=3),
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_parcel_is_what_was_asked_for_or_a_refusal(
    kind: bytes, header: Json, digests: int, content: bytes, sizes: list[int]
) -> None:
    body = join(header, [bytes(32)] * digests, [content])
    packed = {b"p": zlib.compress, b"z": zstd.compress}.get(kind, bytes)(body)
    try:
        statuses, found, contents = opened(kind, packed, sizes)
    except TransferError:
        return
    assert len(statuses) == len(sizes)
    assert len(contents) == sum(size for size, each in zip(sizes, statuses, strict=True) if each.word == "whole")
    assert len(found) == sum(each.word == "whole" for each in statuses)
