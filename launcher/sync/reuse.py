"""Which contents need not travel: renamed, copied, touched or linked files, and what a changed one still shares."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from launcher.agent.hashes import HASH_BYTES, LEAF_BYTES, digest_of, digest_of_leaves, leaf_count
from launcher.errors import TransferError
from launcher.sync.difference import There
from launcher.sync.frames import Json
from launcher.sync.memory import Memory
from launcher.sync.packing import SMALL_BYTES, THREADS, Large, leaves_of_file, read_small
from launcher.sync.tree import Item

DELTA_LEAST_BYTES = 1 << 20
"""Smaller files are sooner sent whole."""
COPY_LEAST_BYTES = 1 << 12
WORTH = 0.1
"""The part of a changed file that must be there already for a delta to pay."""
SAMPLE_BYTES = 1 << 14

Source = str | dict[str, str]
"""A name in the folder, or `{"store": NAME}`."""
AskLeaves = Callable[[str], bytes]
"""Gives the leaves that a file on the machine has, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A changed file of which the machine has a part."""

    large: Large
    base: str
    copies: tuple[tuple[int, int, int], ...]
    """(to, from, length) of what it has."""


@dataclass(slots=True, kw_only=True)
class Reuse:
    """How each file comes about."""

    send: list[Item] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    copies: list[tuple[Item, str, Source]] = field(default_factory=list)
    """(file, digest, where from); the digest is empty for a hard link, which has that of its source."""
    same: list[tuple[Item, str]] = field(default_factory=list)
    """Files whose content lies under their own name: only time or mode differ."""


def find_reuse(
    root: str,
    files: Sequence[Item],
    there: Mapping[str, There],
    store: Mapping[int, list[str]],
    memory: Memory,
    ask_leaves: AskLeaves,
) -> Reuse:
    """Sort `files` by how they come about; only those are read whose size says that it may pay.

    Raises `OSError` for a file that cannot be read.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        return _Finder(root, there, store, memory, ask_leaves, pool).find(files)


class _Finder:
    """One search."""

    def __init__(
        self,
        root: str,
        there: Mapping[str, There],
        store: Mapping[int, list[str]],
        memory: Memory,
        ask_leaves: AskLeaves,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._root = root
        self._there = there
        self._memory = memory
        self._ask_leaves = ask_leaves
        self._pool = pool
        self._known: dict[tuple[int, str], Source] = {}
        for size_bytes, names in store.items():
            self._known.update({(size_bytes, name.partition("-")[2]): {"store": name} for name in names})
        for name, line in there.items():
            if line.digest:
                self._known[line.item.size_bytes, line.digest] = name
        self._sizes = {size_bytes for size_bytes, _ in self._known}
        self._inodes: dict[tuple[int, int], str] = {}
        self._found = Reuse()

    def find(self, files: Sequence[Item]) -> Reuse:
        """All of them."""
        twins = _twins(self._root, files)
        for item in files:
            first = self._inodes.setdefault(item.inode, item.name) if item.inode else item.name
            if first != item.name:
                self._found.copies.append((item, "", first))
            elif item.size_bytes <= SMALL_BYTES:
                self._small(item)
            else:
                self._big(item, twin=item.name in twins)
        return self._found

    def _small(self, item: Item) -> None:
        if item.size_bytes in self._sizes:
            content = read_small(f"{self._root}/{item.name}", item)
            if content is not None and self._lies_there(item, digest_of(content).hex()):
                return
        self._found.send.append(item)

    def _lies_there(self, item: Item, digest: str) -> bool:
        """Note where a content lies already, if it does."""
        old = self._there.get(item.name)
        if old is not None and old.digest == digest and old.item.size_bytes == item.size_bytes:
            self._found.same.append((item, digest))
            return True
        source = self._known.get((item.size_bytes, digest))
        if source is None or item.size_bytes < COPY_LEAST_BYTES:
            return False
        self._found.copies.append((item, digest, source))
        return True

    def _big(self, item: Item, *, twin: bool) -> None:
        old = self._there.get(item.name)
        patchable = old is not None and old.digest and min(old.item.size_bytes, item.size_bytes) >= DELTA_LEAST_BYTES
        if not (patchable or twin or item.size_bytes in self._sizes):
            self._found.send.append(item)
            return
        leaves = self._leaves(item)
        if not leaves:
            self._found.send.append(item)
            return
        digest = digest_of_leaves(leaves).hex()
        if self._lies_there(item, digest):
            return
        self._known[item.size_bytes, digest] = item.name
        patch = self._patch(item, leaves, old) if patchable and old is not None else None
        if patch is None:
            self._found.send.append(item)
        else:
            self._found.patches.append(patch)

    def _leaves(self, item: Item) -> bytes:
        """A local file's leaves, remembered or read; empty where it is shorter by now."""
        digest = self._memory.digest(item)
        leaves = self._memory.leaves(item.size_bytes, digest) if digest else b""
        if leaves:
            return leaves
        leaves = leaves_of_file(f"{self._root}/{item.name}", item.size_bytes, self._pool) or b""
        if leaves:
            digest = digest_of_leaves(leaves).hex()
            self._memory.keep_digest(item, digest)
            self._memory.keep_leaves(item.size_bytes, digest, leaves)
        return leaves

    def _patch(self, item: Item, leaves: bytes, old: There) -> Patch | None:
        base = self._memory.leaves(old.item.size_bytes, old.digest)
        if not base:
            base = self._ask_leaves(item.name)
        if len(base) != leaf_count(old.item.size_bytes) * HASH_BYTES:
            return None
        equal = _equal_leaves(leaves, base)
        copies = _copies(equal, min(item.size_bytes, old.item.size_bytes))
        moved = self._moved_end(item, old.item.size_bytes, base, after=copies)
        todo = _without(_gaps(equal, item.size_bytes), moved)
        if item.size_bytes - sum(length for _, length in todo) < WORTH * item.size_bytes:
            return None
        if moved:
            copies.append(moved)
        return Patch(large=Large(item=item, leaves=bytearray(leaves), todo=todo), base=item.name, copies=tuple(copies))

    def _moved_end(
        self, item: Item, old_bytes: int, base: bytes, *, after: list[tuple[int, int, int]]
    ) -> tuple[int, int, int] | None:
        """The end of the old file where the new one has it too, moved by what was inserted or cut out before.

        Looked for backwards from the end, by the old file's own leaves.
        """
        shift = item.size_bytes - old_bytes
        covered = sum(length for _, _, length in after)
        if not shift or covered > 0.9 * min(old_bytes, item.size_bytes):
            return None
        first = -(shift // LEAF_BYTES) * LEAF_BYTES if shift < 0 else 0
        moved = leaves_of_file(f"{self._root}/{item.name}", item.size_bytes, self._pool, offset=first + shift)
        if not moved:
            return None
        old = base[first // LEAF_BYTES * HASH_BYTES :]
        count = same = len(old) // HASH_BYTES
        while same and _leaf(moved, same - 1) == _leaf(old, same - 1):
            same -= 1
        if same == count:
            return None
        start = first + same * LEAF_BYTES
        return start + shift, start, old_bytes - start


def decode_leaves(answer: Mapping[str, Json]) -> bytes:
    """The leaves that the machine sent; raises `TransferError` on nonsense."""
    try:
        return base64.b64decode(answer.get("leaves", ""), validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise TransferError(f"the machine sent leaves that are none: {error}") from None


def _twins(root: str, files: Sequence[Item]) -> set[str]:
    """Large files that seem to be the same as another: equal size, equal sample from the middle."""
    by_size: dict[int, list[Item]] = {}
    for item in files:
        if item.size_bytes > SMALL_BYTES:
            by_size.setdefault(item.size_bytes, []).append(item)
    found: set[str] = set()
    for items in by_size.values():
        if len(items) < 2:
            continue
        by_sample: dict[bytes, list[str]] = {}
        for item in items:
            by_sample.setdefault(_sample(f"{root}/{item.name}", item.size_bytes), []).append(item.name)
        found.update(name for names in by_sample.values() if len(names) > 1 for name in names)
    return found


def _sample(path: str, size_bytes: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.pread(descriptor, SAMPLE_BYTES, 0) + os.pread(descriptor, SAMPLE_BYTES, size_bytes // 2)
    finally:
        os.close(descriptor)


def _leaf(leaves: bytes, number: int) -> bytes:
    return leaves[number * HASH_BYTES : (number + 1) * HASH_BYTES]


def _equal_leaves(new: bytes, old: bytes) -> list[bool]:
    """Leaf by leaf, whether the old content has the same in the same place."""
    return [new[at : at + HASH_BYTES] == old[at : at + HASH_BYTES] for at in range(0, len(new), HASH_BYTES)]


def _runs(flags: Sequence[bool], wanted: bool, size_bytes: int) -> list[tuple[int, int]]:
    """(offset, length) in bytes of the runs of leaves that are `wanted`."""
    runs: list[list[int]] = []
    for number, flag in enumerate(flags):
        if flag is not wanted:
            continue
        if runs and runs[-1][0] + runs[-1][1] == number:
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
    return [(a * LEAF_BYTES, min((a + n) * LEAF_BYTES, size_bytes) - a * LEAF_BYTES) for a, n in runs]


def _copies(equal: Sequence[bool], size_bytes: int) -> list[tuple[int, int, int]]:
    return [(offset, offset, length) for offset, length in _runs(equal, True, size_bytes) if length > 0]


def _gaps(equal: Sequence[bool], size_bytes: int) -> list[tuple[int, int]]:
    return _runs(equal, False, size_bytes)


def _without(gaps: Sequence[tuple[int, int]], moved: tuple[int, int, int] | None) -> list[tuple[int, int]]:
    """The gaps less what the moved end covers; they stay on leaf boundaries."""
    if moved is None:
        return list(gaps)
    left = []
    for offset, length in gaps:
        # A leaf that the moved end covers in part is sent whole.
        end = min(offset + length, -(-moved[0] // LEAF_BYTES) * LEAF_BYTES)
        if end > offset:
            left.append((offset, end - offset))
    return left
