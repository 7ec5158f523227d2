"""Which bytes of a file go up: those of a changed one, of one with holes, of what the machine has in store."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.agent import store
from launcher.domain import TransferProgress
from launcher.sync.layout import RemoteLayout
from launcher.sync.local.memory import Memory
from launcher.sync.wire.frames import Wire

from .pushing import MIB, fill, push, tree


def one_percent(old: bytes) -> bytes:
    """One byte in each of 40 pages of 16 KiB, which is one percent of them."""
    new = bytearray(old)
    for page in random.Random(2).sample(range(len(old) >> 14), (len(old) >> 14) // 100):
        new[(page << 14) + 77] ^= 1
    return bytes(new)


@pytest.mark.parametrize(
    "case",
    [
        (one_percent, 64 * MIB, 3 * MIB),
        (lambda old: old + b"appended" * 1000, 16 * MIB, MIB),
        (lambda old: b"front" + old, 16 * MIB, MIB),
        (lambda old: old[:5_000_000] + b"middle" + old[5_000_000:], 16 * MIB, MIB),
        (lambda old: old[5:], 16 * MIB, MIB),
        (lambda old: old[: 9 * MIB + 3], 16 * MIB, MIB),
    ],
    ids=["in place", "appended", "put in front", "put in the middle", "cut off in front", "cut short"],
)
@pytest.mark.parametrize("remembers", [True, False])
def test_of_a_changed_file_only_what_is_new_goes(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, memory: Memory,
    case: tuple[Callable[[bytes], bytes], int, int], remembers: bool,
) -> None:  # fmt: skip
    edit, size, limit = case
    old = random.Random(1).randbytes(size)
    kept = memory if remembers else None
    fill(code, {"big": old})
    push(lines, code, layout.code, memory=kept)
    new = edit(old)
    fill(code, {"big": new})
    seen: list[TransferProgress] = []
    sent = push(lines, code, layout.code, seen.append, kept)
    assert (there / "big").read_bytes() == new
    assert tree(there) == tree(code)
    assert sent.sent_bytes < limit
    assert seen[-1].finished
    assert sent.reused_bytes > 0.9 * (len(new) - limit)


@pytest.mark.parametrize("rest", [0, 6 * MIB], ids=["directly", "lanes"])
def test_a_changed_file_that_is_not_there_as_it_seems_goes_whole(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, memory: Memory, rest: int
) -> None:
    old = bytearray(random.Random(1).randbytes(3 * MIB) + bytes(MIB))
    fill(code, {"big": bytes(old)})
    push(lines, code, layout.code, memory=memory)
    known = (there / "big").stat()
    (there / "big").write_bytes(b"x" * len(old))
    os.utime(there / "big", ns=(known.st_atime_ns, known.st_mtime_ns))
    old[MIB : 2 * MIB] = bytes(MIB)
    fill(code, {"big": bytes(old), "rest": os.urandom(rest)})
    if rest:
        os.link(code / "big", code / "linked")
    sent = push(lines, code, layout.code, memory=memory)
    assert tree(there) == tree(code)
    assert sent.changed == ()
    assert sent.sent_bytes > 2 * MIB
    fill(code, {"big": bytes(old) + b"more"})
    assert push(lines, code, layout.code, memory=memory).sent_bytes < MIB
    assert tree(there) == tree(code)


def test_holes_are_not_sent_and_stay_holes(code: Path, lines: Any, layout: RemoteLayout, there: Path) -> None:
    with (code / "sparse").open("wb") as file:
        file.truncate(300 * MIB)
        file.seek(200 * MIB)
        file.write(b"data")
    sent = push(lines, code, layout.code)
    assert sent.sent_bytes < 100_000
    assert (there / "sparse").stat().st_size == 300 * MIB
    assert (there / "sparse").stat().st_blocks * 512 < 3 * MIB
    with (there / "sparse").open("rb") as file:
        file.seek(200 * MIB)
        assert file.read(5) == b"data\0"


def test_what_lies_in_the_machine_s_store_is_not_sent(
    code: Path, connection: Any, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(code, {"train.npz": os.urandom(3 * MIB), "labels": os.urandom(100_000), "own": b"x" * 100})
    stored = connection.home / "gpurun/store"
    names = store.add([str(code)], str(stored))
    assert len(names) == 2
    sent = push(lines, code, layout.code)
    assert sent.size_bytes == 100
    assert sent.sent_bytes < 1000
    assert tree(there) == tree(code)
    # The job may write to its own.
    assert (there / "train.npz").stat().st_ino != (stored / names[0]).stat().st_ino


def test_a_store_that_lies_is_found_out(
    code: Path, connection: Any, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(code, {"train.npz": os.urandom(3 * MIB)})
    (name,) = store.add([str(code)], str(connection.home / "gpurun/store"))
    spoilt = connection.home / "gpurun/store" / name
    spoilt.chmod(0o644)
    with spoilt.open("r+b") as file:
        file.write(b"spoilt")
    push(lines, code, layout.code)
    assert tree(there) == tree(code)


def test_a_machine_without_zstd_takes_zlib(
    code: Path, connection: Any, lines: Any, layout: RemoteLayout, there: Path, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    if sys.version_info >= (3, 14):
        pytest.skip("this Python brings zstd itself")
    fill(tmp_path / "no libraries", {"libzstd.so.1": b"no library"})
    connection.environment["LD_LIBRARY_PATH"] = str(tmp_path / "no libraries")
    kinds: list[bytes] = []
    send = Wire.send

    def noted(wire: Wire, kind: bytes, *payload: bytes) -> None:
        kinds.append(kind)
        send(wire, kind, *payload)

    monkeypatch.setattr(Wire, "send", noted)
    fill(code, {"text": b"print()\n" * 10_000, "big": b"1,2,3\n" * 500_000, "noise": os.urandom(MIB)})
    sent = push(lines, code, layout.code)
    assert tree(there) == tree(code)
    assert set(kinds) - {b"J", b"j"} == {b"p", b"P"}
    assert sent.sent_bytes < 1.2 * MIB
