"""Local files into parcels: read, hashed and compressed by threads that share the work out among themselves."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from launcher.agent import parcels
from launcher.agent.hashes import HASH_BYTES, LEAF_BYTES, digest_of_leaves, leaves_of
from launcher.agent.parcels import NUMBER
from launcher.sync.local.tree import Item
from launcher.sync.wire import codec
from launcher.sync.wire.frames import Wire

SMALL_BYTES = 1 << 18
"""Up to that size a file travels in one piece, with others."""
BATCH_BYTES = 1 << 19
PIECE_BYTES = 1 << 20
"""Of a large file: each costs a quarter of a millisecond, whatever its size."""
SAMPLE_BYTES = 1 << 14
STORED = -1
THREADS = max(2, min(4, os.cpu_count() or 1))
LEVELS = (1, 1, 2, 3, 3, 4, 6, 6, 7, 9)
"""zstd's level by how many tenths of the backlog are full: the slower the line, the more there is to gain."""

Range = tuple[int, int]
"""(offset, length) in a file; it begins on a leaf's boundary, but for a changed part inside a leaf."""


@dataclass(slots=True, kw_only=True)
class Large:
    """A file that travels in ranges."""

    item: Item
    leaves: bytearray
    """Of the whole; filled as ranges are read, unless they are `known`."""
    todo: list[Range]
    """What is to be read and, as far as it is not in `have`, to be sent."""
    have: list[Range] = field(default_factory=list)
    """What an earlier attempt had brought."""
    known: bool = False
    holes: bool = True
    """Whether zeros may stay a hole there: not where an earlier attempt has left something else."""
    left: int = 0
    """Groups of ranges that are not answered yet."""

    @property
    def digest(self) -> bytes:
        """Of the whole, when all its leaves are there."""
        return digest_of_leaves(self.leaves)


@dataclass(slots=True, kw_only=True)
class Parcel:
    """`lanes.Work`: one frame with files, a range, or the order to put a large file together."""

    kind: bytes
    body: tuple[bytes, ...]
    """In pieces, so that contents are copied once, when they are sent; none: there is nothing to send."""
    raw_bytes: int
    """Of the contents, before compression."""
    files: tuple[tuple[Item, str], ...] = ()
    """Whole files and their digests."""
    large: Large | None = None
    seals: bool = False

    @property
    def size_bytes(self) -> int:
        """On the line."""
        return sum(map(len, self.body))

    def send(self, wire: Wire, number: int) -> None:
        """Write the frame; raises `RemoteError` on a dead line."""
        wire.send(self.kind, NUMBER.pack(number), *self.body)


def read_small(path: Path | str, item: Item) -> bytes | None:
    """A small file's content; `None` where it has changed. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        content = os.read(descriptor, item.size_bytes + 1)
        mtime_ns = os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)
    return content if len(content) == item.size_bytes and mtime_ns == item.mtime_ns else None


def batches(items: Sequence[Item]) -> list[list[Item]]:
    """Small files in groups that fill a parcel; an empty one counts by its name."""
    found: list[list[Item]] = []
    filled = 0
    for item in items:
        share_bytes = item.size_bytes + len(item.name)
        if not found or filled + share_bytes > BATCH_BYTES:
            found.append([])
            filled = 0
        found[-1].append(item)
        filled += share_bytes
    return found


def pack_files(files: Sequence[tuple[Item, bytes, bytes]], zstd_level: int) -> Parcel:
    """A parcel of whole files: (item, content, digest)."""
    rows = [[item.name, item.size_bytes, item.mtime_ns, item.mode] for item, _, _ in files]
    contents = [content for _, content, _ in files]
    body = [parcels.join({"files": rows}, [digest for _, _, digest in files], []), *contents]
    kind, packed = _packed(body, zstd_level)
    named = tuple((item, digest.hex()) for item, _, digest in files)
    return Parcel(kind=kind, body=packed, raw_bytes=sum(map(len, contents)), files=named)


def pack_ranges(large: Large, group: Sequence[Range], contents: Sequence[bytes], zstd_level: int) -> Parcel:
    """A parcel of ranges, whose leaves are noted in the file's; zeros travel as a figure, what is there not at all.

    Level `STORED`: not compressed. A parcel without a body has nothing to send.
    """
    item = large.item
    rows, digests, sent = [], [], []
    for (offset, length), content in zip(group, contents, strict=True):
        leaves = leaves_of(content)
        if not large.known:
            at = offset // LEAF_BYTES * HASH_BYTES
            large.leaves[at : at + len(leaves)] = leaves
        if any(start <= offset and offset + length <= start + size for start, size in large.have):
            continue
        zeros = large.holes and not content[0] and content.count(0) == length
        rows.append([offset, length, int(zeros)])
        digests.append(digest_of_leaves(leaves))
        sent.append(b"" if zeros else content)
    raw_bytes = sum(length for _, length, _ in rows)
    if not rows:
        return Parcel(kind=b"P", body=(), raw_bytes=0, large=large)
    body = [parcels.join({"parts": [item.name, item.size_bytes, item.mtime_ns, rows]}, digests, []), *sent]
    kind, packed = (b"P", tuple(body)) if zstd_level == STORED else _packed(body, zstd_level)
    return Parcel(kind=kind, body=packed, raw_bytes=raw_bytes, large=large)


def pack_seal(large: Large) -> Parcel:
    """The order to check a large file as a whole and count it among those that have come."""
    item = large.item
    body = parcels.join({"seal": [item.name, item.size_bytes, item.mtime_ns, item.mode]}, [large.digest], [])
    return Parcel(kind=b"P", body=(body,), raw_bytes=0, large=large, seals=True)


def grouped(todo: Sequence[Range], piece_bytes: int) -> list[list[Range]]:
    """Ranges cut and gathered into groups of about `piece_bytes`."""
    found: list[list[Range]] = []
    filled = piece_bytes
    for start, size in todo:
        for offset in range(start, start + size, piece_bytes):
            length = min(piece_bytes, start + size - offset)
            if filled + length > piece_bytes:
                found.append([])
                filled = 0
            found[-1].append((offset, length))
            filled += length
    return found


def read_ranges(path: str, group: Sequence[Range]) -> list[bytes] | None:
    """The contents of ranges; `None` where the file is shorter by now. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        holes = found.st_blocks * 512 < found.st_size
        contents = [_read(descriptor, offset, length, holes=holes) for offset, length in group]
    finally:
        os.close(descriptor)
    whole = all(len(content) == length for content, (_, length) in zip(contents, group, strict=True))
    return contents if whole else None


def _read(descriptor: int, offset: int, length: int, *, holes: bool) -> bytes:
    if holes and hasattr(os, "SEEK_DATA"):
        try:
            if os.lseek(descriptor, offset, os.SEEK_DATA) >= offset + length:
                return bytes(length)
        except OSError as error:
            if error.errno == errno.ENXIO and offset + length <= os.fstat(descriptor).st_size:
                return bytes(length)
    return os.pread(descriptor, length, offset)


def look_again(root: str, item: Item) -> Item | None:
    """The file as it is now; `None` where it is none any more."""
    try:
        found = os.lstat(f"{root}/{item.name}")
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return item._replace(
        size_bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        mode=found.st_mode & 0o777,
        inode=(found.st_dev, found.st_ino),
    )


def shrinks(path: Path | str, size_bytes: int) -> bool:
    """Whether a sample of a large file compresses; raises `OSError`."""
    with Path(path).open("rb", buffering=0) as file:
        file.seek(size_bytes // 2)
        return codec.pays(file.read(SAMPLE_BYTES))


def leaves_of_file(path: Path | str, size_bytes: int, pool: ThreadPoolExecutor, offset: int = 0) -> bytes | None:
    """A large file's leaves, read by the pool's threads; `None` where it is shorter. Raises `OSError`.

    With an `offset` the first leaf begins there: what was inserted before moves all that follows.
    """
    step = 4 << 20
    with Path(path).open("rb", buffering=0) as file:

        def part(at: int) -> bytes:
            content = os.pread(file.fileno(), min(step, size_bytes - at), at)
            return leaves_of(content) if len(content) == min(step, size_bytes - at) else b""

        found = list(pool.map(part, range(offset, size_bytes, step)))
    return b"".join(found) if all(found) else None


def _packed(body: Sequence[bytes], zstd_level: int) -> tuple[bytes, tuple[bytes, ...]]:
    """A parcel's kind and its body, compressed where a sample of the largest piece says that it pays."""
    if not codec.pays(max(body[1:] or body, key=len)):
        return b"P", tuple(body)
    kind, packed = codec.pack(b"".join(body), zstd_level=zstd_level)
    return kind, (packed,)
