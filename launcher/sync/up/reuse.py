"""Which contents need not travel: renamed, copied, touched or linked files, and what a changed one still shares."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from launcher.agent.hashes import (
    GRAIN_BYTES,
    GRAIN_HASH_BYTES,
    HASH_BYTES,
    LEAF_BYTES,
    digest_of,
    digest_of_leaves,
    grains_of,
    leaf_count,
)
from launcher.sync.local.memory import Memory
from launcher.sync.local.tree import Item
from launcher.sync.up.difference import DIGEST, SIZE, There
from launcher.sync.up.packing import SMALL_BYTES, THREADS, Large, Range, leaves_of_file, read_ranges, read_small

DELTA_LEAST_BYTES = 1 << 20
"""Smaller files are sooner sent whole."""
COPY_LEAST_BYTES = 1 << 12
WORTH = 0.1
"""The part of a changed file that must be there already for a delta to pay."""
SAMPLE_BYTES = 1 << 14
FINER_LIMIT_BYTES = 1 << 33
"""Of changed leaves: the grains of more do not fit into one frame."""

Source = str | dict[str, str]
"""A name in the folder, or `{"store": NAME}`."""
Copy = tuple[int, int, int]
"""(to, from, length)."""


class Machine(Protocol):
    """Who can be asked for the hashes of a file there."""

    def leaves(self, name: str) -> bytes:
        """Of the whole file."""

    def grains(self, name: str, ranges: Sequence[Range]) -> bytes:
        """Of ranges of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A changed file of which the machine has a part."""

    large: Large
    base: str
    copies: tuple[Copy, ...]
    """What it has."""


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
    machine: Machine,
) -> Reuse:
    """Sort `files` by how they come about; only those are read whose size says that it may pay.

    Raises `OSError` for a file that cannot be read.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        return _Finder(root, there, store, memory, machine, pool).find(files)


class _Finder:
    """One search."""

    def __init__(
        self,
        root: str,
        there: Mapping[str, There],
        store: Mapping[int, list[str]],
        memory: Memory,
        machine: Machine,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._root = root
        self._there = there
        self._memory = memory
        self._ask = machine
        self._pool = pool
        self._known: dict[tuple[int, str], Source] = {}
        for size_bytes, names in store.items():
            self._known.update({(size_bytes, name.partition("-")[2]): {"store": name} for name in names})
        for name, line in there.items():
            if line[DIGEST]:
                self._known[line[SIZE], line[DIGEST]] = name
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
        if old is not None and old[DIGEST] == digest and old[SIZE] == item.size_bytes:
            self._found.same.append((item, digest))
            return True
        source = self._known.get((item.size_bytes, digest))
        if source is None or item.size_bytes < COPY_LEAST_BYTES:
            return False
        self._found.copies.append((item, digest, source))
        return True

    def _big(self, item: Item, *, twin: bool) -> None:
        old = self._there.get(item.name)
        patchable = old is not None and old[DIGEST] and min(old[SIZE], item.size_bytes) >= DELTA_LEAST_BYTES
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
        path = f"{self._root}/{item.name}"
        digest = self._memory.digest(path, item)
        leaves = self._memory.leaves(item.size_bytes, digest) if digest else b""
        if leaves:
            return leaves
        began_ns = time.time_ns()
        leaves = leaves_of_file(path, item.size_bytes, self._pool) or b""
        if leaves:
            digest = digest_of_leaves(leaves).hex()
            self._memory.keep_digest(path, item, digest, began_ns)
            self._memory.keep_leaves(item.size_bytes, digest, leaves)
        return leaves

    def _patch(self, item: Item, leaves: bytes, old: There) -> Patch | None:
        """What of a changed file is there; `None` where that is too little to matter."""
        base = self._memory.leaves(old[SIZE], old[DIGEST]) or self._ask.leaves(item.name)
        if len(base) != leaf_count(old[SIZE]) * HASH_BYTES:
            return None
        equal = _equal(leaves, base, HASH_BYTES)
        shared_bytes = min(item.size_bytes, old[SIZE])
        copies = _same(_runs(equal, True, LEAF_BYTES, shared_bytes))
        moved = self._moved_end(item, old[SIZE], base, after=copies)
        todo = _without(_runs(equal, False, LEAF_BYTES, item.size_bytes), moved)
        todo, finer = self._finer(item, todo, shared_bytes)
        if item.size_bytes - sum(length for _, length in todo) < WORTH * item.size_bytes:
            return None
        copies += [*finer, *([moved] if moved else [])]
        large = Large(item=item, leaves=bytearray(leaves), todo=todo, known=True)
        return Patch(large=large, base=item.name, copies=tuple(copies))

    def _finer(self, item: Item, todo: list[Range], shared_bytes: int) -> tuple[list[Range], list[Copy]]:
        """Look for what has not changed inside the leaves that have: (what is left to send, what is there)."""
        inside = [(start, min(length, 4 * LEAF_BYTES)) for start, length in _cut(todo, 4 * LEAF_BYTES)]
        inside = [piece for piece in inside if sum(piece) <= shared_bytes]
        if not 0 < sum(length for _, length in inside) <= FINER_LIMIT_BYTES:
            return todo, []
        asked = self._pool.submit(self._ask.grains, item.name, inside)
        path = f"{self._root}/{item.name}"
        here = b"".join(
            self._pool.map(lambda piece: b"".join(map(grains_of, read_ranges(path, [piece]) or [])), inside)
        )
        there = asked.result()
        if len(here) != len(there):
            return todo, []
        left, finer, at = [piece for piece in _cut(todo, 4 * LEAF_BYTES) if piece not in inside], [], 0
        for start, length in inside:
            count = -(-length // GRAIN_BYTES) * GRAIN_HASH_BYTES
            equal = _equal(here[at : at + count], there[at : at + count], GRAIN_HASH_BYTES)
            left += [(start + offset, size) for offset, size in _runs(equal, False, GRAIN_BYTES, length)]
            kept = _runs(equal, True, GRAIN_BYTES, length)
            finer += [(start + offset, start + offset, size) for offset, size in kept]
            at += count
        return sorted(left), finer

    def _moved_end(self, item: Item, old_bytes: int, base: bytes, *, after: list[Copy]) -> Copy | None:
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


def _equal(new: bytes, old: bytes, size_bytes: int) -> list[bool]:
    """Hash by hash, whether the old content has the same in the same place."""
    return [new[at : at + size_bytes] == old[at : at + size_bytes] for at in range(0, len(new), size_bytes)]


def _runs(flags: Sequence[bool], wanted: bool, unit_bytes: int, end: int) -> list[Range]:
    """The runs of units that are `wanted`, as far as they lie before `end`."""
    runs: list[list[int]] = []
    for number, flag in enumerate(flags):
        if flag is not wanted:
            continue
        if runs and runs[-1][0] + runs[-1][1] == number:
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
    ranges = [(first * unit_bytes, min((first + count) * unit_bytes, end)) for first, count in runs]
    return [(start, stop - start) for start, stop in ranges if stop > start]


def _same(ranges: Sequence[Range]) -> list[Copy]:
    return [(offset, offset, length) for offset, length in ranges]


def _cut(ranges: Sequence[Range], piece_bytes: int) -> list[Range]:
    """Ranges in pieces."""
    return [
        (offset, min(piece_bytes, start + length - offset))
        for start, length in ranges
        for offset in range(start, start + length, piece_bytes)
    ]


def _without(gaps: Sequence[Range], moved: Copy | None) -> list[Range]:
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
