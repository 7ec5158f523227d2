"""What the laptop remembers of transfers: lost or spoilt, it costs time and never truth."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from launcher.agent.hashes import LEAF_BYTES, digest_of_leaves, leaves_of
from launcher.sync.local import ignore
from launcher.sync.local.memory import KEPT_S, RACY_NS, Memory
from launcher.sync.local.tree import Item, scan

ENTRIES = [["a", "f", 1, 2, 0o644, "", "00" * 32]]
CONTENT = os.urandom(3 * LEAF_BYTES)
LEAVES = leaves_of(CONTENT)
DIGEST = digest_of_leaves(LEAVES).hex()
LATER_NS = 1 << 62
"""When any file is old."""


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "memory")


def look(path: Path) -> Item:
    return scan(path, ignore=ignore.nothing()).items[0]


def test_what_was_pushed_is_known_again(memory: Memory, tmp_path: Path) -> None:
    memory.keep_pushed("r/code", "abc", ENTRIES)
    memory.keep_leaves(len(CONTENT), DIGEST, LEAVES)
    again = Memory(tmp_path / "memory")
    assert again.pushed("r/code") == ("abc", ENTRIES)
    assert again.pushed("r/data") is None
    assert again.leaves(len(CONTENT), DIGEST) == LEAVES
    assert again.leaves(len(CONTENT), "00" * 32) == b""
    assert (tmp_path / "memory").stat().st_mode & 0o777 == 0o700


def test_without_a_folder_nothing_is_remembered(tmp_path: Path) -> None:
    memory = Memory(None)
    memory.keep_pushed("r/code", "abc", ENTRIES)
    memory.keep_leaves(len(CONTENT), DIGEST, LEAVES)
    memory.forget_old()
    assert memory.pushed("r/code") is None
    assert memory.leaves(len(CONTENT), DIGEST) == b""


def test_a_file_that_nothing_has_touched_is_not_read_again(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(CONTENT)
    memory.keep_digest(str(path), look(path), DIGEST, LATER_NS)
    assert memory.digest(str(path), look(path)) == DIGEST
    path.write_bytes(CONTENT[:-1])
    assert memory.digest(str(path), look(path)) == ""


def test_a_time_that_was_set_back_deceives_nobody(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(CONTENT)
    item = look(path)
    memory.keep_digest(str(path), item, DIGEST, LATER_NS)
    changed_ns = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == changed_ns:  # the kernel's clock ticks in milliseconds
        path.write_bytes(bytes(len(CONTENT)))
        os.utime(path, ns=(item.mtime_ns, item.mtime_ns))
    assert look(path) == item
    assert memory.digest(str(path), item) == ""


def test_a_file_that_has_changed_since_it_was_looked_at_is_not_remembered(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(CONTENT)
    item = look(path)
    path.write_bytes(b"")
    memory.keep_digest(str(path), item, DIGEST, LATER_NS)
    memory.keep_digest(str(tmp_path / "gone"), item, DIGEST, LATER_NS)
    assert memory.digest(str(path), item) == memory.digest(str(path), look(path)) == ""


def test_a_file_that_was_new_when_it_was_read_is_not_remembered(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(CONTENT)
    item = look(path)
    memory.keep_digest(str(path), item, DIGEST, item.mtime_ns + RACY_NS)
    assert memory.digest(str(path), item) == ""
    memory.keep_digest(str(path), item, DIGEST, item.mtime_ns + RACY_NS + 1)
    assert memory.digest(str(path), item) == DIGEST
    memory.forget_digest(item)
    assert memory.digest(str(path), item) == ""


def test_a_file_without_an_inode_is_never_known(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(CONTENT)
    item = look(path)._replace(inode=None)
    memory.keep_digest(str(path), item, DIGEST, LATER_NS)
    assert memory.digest(str(path), item) == ""


@pytest.mark.parametrize(
    "spoilt",
    [
        *(b"", b"{", b"\xff\xfe", b"[]", b"null", b"5", b'"x"', b"{}", b'{"digest": 5, "entries": []}'),
        *(b'{"digest": "abc"}', b'{"digest": "abc", "entries": 5}', b'{"digest": "abc", "entries": [5]}'),
        *(b'{"digest": "abc", "entries": [["a"]]}', b'{"stamp": 5}', b"[" * 100_000, bytes(len(LEAVES))),
    ],
)
def test_what_is_spoilt_is_forgotten(memory: Memory, tmp_path: Path, spoilt: bytes) -> None:
    path = tmp_path / "weights"
    path.write_bytes(CONTENT)
    memory.keep_pushed("r/code", "abc", ENTRIES)
    memory.keep_digest(str(path), look(path), DIGEST, LATER_NS)
    memory.keep_leaves(len(CONTENT), DIGEST, LEAVES)
    kept = [*(tmp_path / "memory").iterdir()]
    assert len(kept) == 3
    for file in kept:
        file.write_bytes(spoilt)
    assert memory.pushed("r/code") is None
    assert memory.digest(str(path), look(path)) == ""
    assert memory.leaves(len(CONTENT), DIGEST) == b""


def test_a_memory_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("a file in its place")
    memory = Memory(tmp_path / "memory")
    memory.keep_pushed("r/code", "abc", ENTRIES)
    assert memory.pushed("r/code") is None
    memory.forget_old()


def test_what_is_not_used_for_a_month_goes(memory: Memory, tmp_path: Path) -> None:
    memory.keep_pushed("r/code", "abc", ENTRIES)
    memory.keep_pushed("r/data", "abc", ENTRIES)
    old = time.time() - KEPT_S - 1
    os.utime(min((tmp_path / "memory").iterdir()), (old, old))
    memory.forget_old()
    assert (memory.pushed("r/code") is None) is not (memory.pushed("r/data") is None)
