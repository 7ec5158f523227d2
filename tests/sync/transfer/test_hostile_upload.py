"""A machine that lies while it is sent to: refused in words, and no file of this computer touched.

One lie cannot be told: that all has come and lies in place. Whoever runs a job there trusts the machine that far.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.agent.hashes import LEAF_BYTES, leaves_of
from launcher.agent.parcels import NUMBER
from launcher.agent.place import part_key
from launcher.agent.wire import HEADER
from launcher.domain import TransferProgress
from launcher.errors import HostUnreachable, TransferError
from launcher.sync.layout import RemoteLayout
from launcher.sync.local import ignore
from launcher.sync.local.tree import scan
from launcher.sync.up import upload

from .false_agent import FalseSide, Json, answer, frame, request_in

ROOT = RemoteLayout("r").code
ESCAPE = "\x1b]0;owned\x07\x1b[2J\r\n\u202e"
INFINITY = float("inf")
BIG_BYTES = 5 << 20
OLD = bytes(2 << 20)


class Far(FalseSide):
    """A machine that takes everything, but for its lies."""

    def __init__(self, state: Json = None, /, **lies: Callable[[Json], bytes]) -> None:
        super().__init__()
        self.lies = lies
        self.state = {"digest": "", "staged": False, "zstd": False, "free_bytes": 10**12, "store": [], **(state or {})}
        self.asked: list[Json] = []

    def answer(self, kind: bytes, payload: bytes) -> bytes:
        if kind not in {b"J", b"j"}:
            return self.lies.get("parcel", self.do_parcel)(NUMBER.unpack_from(payload)[0])
        request = request_in(kind, payload)
        self.asked.append(request)
        word = request.get("op", "end")
        lie: Callable[[Json], bytes] = self.lies.get(word, getattr(self, f"do_{word}"))
        return lie(request)

    def do_parcel(self, number: int) -> bytes:
        return frame(b"A", NUMBER.pack(number))

    def do_state(self, request: Json) -> bytes:
        return answer(self.state)

    def do_entries(self, request: Json) -> bytes:
        return answer({"entries": []})

    def do_staged(self, request: Json) -> bytes:
        return answer({"rows": [], "parts": {}})

    def do_leaves(self, request: Json) -> bytes:
        return answer({"leaves": ""})

    def do_grains(self, request: Json) -> bytes:
        return answer({"grains": ""})

    def do_clone(self, request: Json) -> bytes:
        return answer({})

    def do_copies(self, request: Json) -> bytes:
        return answer({"bad": []})

    def do_hello(self, request: Json) -> bytes:
        return answer({})

    def do_take(self, request: Json) -> bytes:
        return b""

    def do_end(self, request: Json) -> bytes:
        return answer({})

    def do_drop(self, request: Json) -> bytes:
        return answer({})

    def do_commit(self, request: Json) -> bytes:
        return answer({"committed": True})


def stating(**changes: Json) -> Far:
    return Far(changes)


def saying(said: bytes) -> Far:
    return Far(state=lambda request: said)


def listing(entries: Json) -> Far:
    return Far({"digest": "00" * 32}, entries=lambda request: answer({"entries": entries}))


def staging(**changes: Json) -> Far:
    return Far({"staged": True}, staged=lambda request: answer({"rows": [], "parts": {}, **changes}))


def acknowledging(lie: Callable[[int], bytes]) -> Far:
    return Far(parcel=lie)


def committing(value: Json) -> Far:
    return Far(commit=lambda request: answer(value))


def row(name: Json = "small", kind: Json = "f", size: Json = 1, mtime_ns: Json = 0, digest: Json = "0" * 64) -> Json:
    return [name, kind, size, mtime_ns, 0o644, "", digest]


def hashing(leaves: Json = None, grains: Json = None) -> Far:
    """A machine that has an older state of the big file, and lies about its hashes."""
    old = row("big", size=len(OLD))
    lies: dict[str, Any] = {"entries": lambda request: answer({"entries": [old]})}
    lies["leaves"] = lambda request: answer({"leaves": leaves})
    lies["grains"] = lambda request: answer({"grains": grains})
    return Far({"digest": "00" * 32}, **lies)


def copying(value: Json) -> Far:
    """A machine that seems to have the small file under another name."""
    return Far({"store": [[5000, f"5000-{SMALL_DIGEST}"]]}, copies=lambda request: answer(value))


SMALL = bytes(range(250)) * 20
SMALL_DIGEST = leaves_of(SMALL).hex()

STATES: dict[str, Far] = {
    "nothing": saying(answer({})),
    "room that is text": stating(free_bytes="much"),
    "room that is true": stating(free_bytes=True),
    "room without end": stating(free_bytes=INFINITY),
    "room below zero": stating(free_bytes=-1),
    "a digest that is a number": stating(digest=5),
    "a digest that is none": stating(digest=None),
    "a store that is a number": stating(store=5),
    "a store of numbers": stating(store=[5]),
    "a store of infinite size": stating(store=[[INFINITY, "x"]]),
    "a store without names": stating(store=[[1]]),
    "not JSON": saying(frame(b"J", b"{")),
    "not an object": saying(answer([1])),
    "nested without end": saying(frame(b"J", b'{"a":' + b"[" * 10**6)),
    "lists without end": saying(frame(b"j", zlib.compress(b'{"a":[' + b"[]," * 8_000_001 + b"[]]}"))),
    "a number without end": saying(frame(b"J", b'{"free_bytes":' + b"9" * 10**5 + b"}")),
    "a bomb": saying(frame(b"j", zlib.compress(bytes(1 << 28)))),
    "a frame without end": saying(HEADER.pack(b"J", 0xFFFFFFFF) + b" " * 1000),
    "no zlib": saying(frame(b"j", b"rubbish")),
    "data for an answer": saying(frame(b"D", b"x")),
    "an error of another shape": saying(answer({"error": 5})),
    "an error with escapes": saying(answer({"error": {"kind": ESCAPE, "message": ESCAPE * 10**4}})),
}
ENTRIES: dict[str, Far] = {
    "a number": listing(5),
    "numbers": listing([5]),
    "nothing": listing(None),
    "too few columns": listing([row()[:6]]),
    "too many columns": listing([[*row(), 1]]),
    "a name that is a number": listing([row(5)]),
    "a name that is a list": listing([row([])]),
    "a kind that is none": listing([row(kind=None)]),
    "a size that is text": listing([row(size="1")]),
    "a size without end": listing([row(size=INFINITY)]),
    "a size that is true": listing([row(size=True)]),
    "a time that is a fraction": listing([row(mtime_ns=0.5)]),
    "a digest that is short": listing([row(digest="00")]),
    "a digest with escapes": listing([row(digest=ESCAPE)]),
}
STAGES: dict[str, Far] = {
    "rows that are none": staging(rows=5),
    "rows of another kind": staging(rows=[[1]]),
    "parts that are a list": staging(parts=[1]),
    "parts of numbers": staging(parts={"x": [5]}),
    "parts without end": staging(parts={"x": [[INFINITY, 1]]}),
    "parts that are text": staging(parts={"x": "abc"}),
}
ACKNOWLEDGEMENTS: dict[str, Far] = {
    "a refusal": acknowledging(lambda number: frame(b"N", NUMBER.pack(number) + ESCAPE.encode() * 10**4)),
    "another number": acknowledging(lambda number: frame(b"A", NUMBER.pack(number + 7))),
    "a number twice": acknowledging(lambda number: frame(b"A", NUMBER.pack(number)) * 2),
    "no number": acknowledging(lambda number: frame(b"A", b"\0")),
    "another kind": acknowledging(lambda number: frame(b"?", NUMBER.pack(number))),
    "data": acknowledging(lambda number: frame(b"P", NUMBER.pack(number) + b"x")),
    "an error": acknowledging(lambda number: answer({"error": {"kind": "os", "message": "on fire"}})),
    "an end before the end": acknowledging(lambda number: answer({})),
    "not JSON": acknowledging(lambda number: frame(b"J", b"{")),
    "a frame without end": acknowledging(lambda number: HEADER.pack(b"A", 0xFFFFFFFF) + b"x" * 1000),
}
ENDS: dict[str, Far] = {
    "not committed": committing({"committed": False}),
    "nothing": committing({}),
    "text for true": committing({"committed": "true"}),
    "one for true": committing({"committed": 1}),
    "an error": committing({"error": {"kind": "refused", "message": "no " + ESCAPE}}),
    "a list": committing([True]),
    "copied, a number": copying({"bad": 5}),
    "copied, nothing said": copying({}),
    "copied, text": copying({"bad": "small"}),
    "leaves that are a number": hashing(leaves=5),
    "leaves that are no base64": hashing(leaves="*" * 100),
    "leaves that are no text": hashing(leaves="\ud800ü"),
}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A small file and a big one."""
    root = tmp_path / "code"
    root.mkdir()
    (root / "small").write_bytes(SMALL)
    (root / "big").write_bytes(os.urandom(BIG_BYTES))
    (root / "linked").symlink_to("small")
    return root


def snapshot(folder: Path) -> dict[str, object]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in sorted(folder.rglob("*"))
    }


def push(far: Far, root: Path) -> Any:
    def silent(progress: TransferProgress) -> None:
        """Nobody watches."""

    return upload.push(far, scan(root, ignore=ignore.nothing()), ROOT, silent, "code")


CASES = [
    pytest.param(far, id=f"{about}: {lie}")
    for about, lies in (
        ("state", STATES),
        ("entries", ENTRIES),
        ("stage", STAGES),
        ("acknowledgement", ACKNOWLEDGEMENTS),
        ("end", ENDS),
    )
    for lie, far in lies.items()
]


@pytest.mark.parametrize("size_bytes", [BIG_BYTES, 2 << 20], ids=["lanes", "directly"])
@pytest.mark.parametrize("far", CASES)
def test_a_lie_is_refused(tmp_path: Path, here: Path, far: Far, size_bytes: int) -> None:
    os.truncate(here / "big", size_bytes)
    far.idle.clear()
    before = snapshot(tmp_path)
    with pytest.raises(TransferError) as caught:
        push(far, here)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1500
    assert snapshot(tmp_path) == before


def test_the_truth_is_taken(here: Path) -> None:
    assert push(Far(), here).files == 2


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/../../evil", "", ".", "small/below", "\0", "\ud800", "x" * 10_000]
)
def test_names_that_lead_out_go_nowhere_but_back(tmp_path: Path, here: Path, name: str) -> None:
    far = listing([row(name), row("linked/small", "d")])
    before = snapshot(tmp_path)
    push(far, here)
    assert snapshot(tmp_path) == before
    assert set(far.asked[-1]["delete"]) == {name, "linked/small"}


def test_what_needs_no_room_goes_to_a_full_machine(tmp_path: Path) -> None:
    root = tmp_path / "code"
    (root / "folder").mkdir(parents=True)
    (root / "empty").touch()
    assert push(stating(free_bytes=0), root).files == 1
    (root / "small").write_bytes(SMALL)
    with pytest.raises(TransferError, match="disk is too small"):
        push(stating(free_bytes=0), root)


@pytest.mark.parametrize("size", [-1, 0, 1 << 62, 1 << 200])
def test_odd_sizes_of_what_is_there_are_no_harm(here: Path, size: int) -> None:
    assert push(listing([row("small", size=size), row("big", size=size)]), here).files == 2


@pytest.mark.parametrize(
    ("leaves", "grains"),
    [("", ""), ("AAAA", ""), (None, None), ("AAAA" * 10**6, "AAAA")],
    ids=["empty", "too few", "none", "too many"],
)
def test_of_hashes_in_the_wrong_number_nothing_is_believed(here: Path, leaves: Json, grains: Json) -> None:
    far = hashing(leaves=leaves, grains=grains)
    if leaves is None:
        with pytest.raises(TransferError):
            push(far, here)
    else:
        assert push(far, here).size_bytes == BIG_BYTES + len(SMALL)
    assert not [request for request in far.asked if request.get("op") == "clone"]


@pytest.mark.parametrize("first", [-5, 0, 10**9])
def test_parts_that_lie_elsewhere_than_the_file_are_no_harm(here: Path, first: int) -> None:
    found = (here / "big").stat()
    key = part_key("big", found.st_size, found.st_mtime_ns)
    sent = push(staging(parts={key: [[first, -1], [first, 1], [1, 0]]}), here)
    assert sent.size_bytes >= BIG_BYTES - LEAF_BYTES


def test_copies_that_never_come_out_are_sent(here: Path) -> None:
    far = copying({"bad": ["small", "by another name", 5]})
    assert push(far, here).files == 2


def test_a_machine_that_hangs_up_is_unreachable(here: Path) -> None:
    class HangsUp(Far):
        def answer(self, kind: bytes, payload: bytes) -> bytes:
            if kind == b"P":
                raise HostUnreachable("gone")
            return super().answer(kind, payload)

    os.truncate(here / "big", 1 << 20)
    with pytest.raises(HostUnreachable):
        push(HangsUp(), here)
