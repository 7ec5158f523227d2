"""What the machine says lies in a folder, every name, size and run of it checked before anything is done with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from launcher.agent.hashes import HASH_BYTES, LEAF_BYTES
from launcher.domain import FileEntry, FileKind
from launcher.errors import TransferError
from launcher.sync.frames import Json
from launcher.sync.names import check_tree, shown, told

KINDS = {"f": FileKind.FILE, "d": FileKind.DIRECTORY, "l": FileKind.SYMLINK}
MODE_MASK = 0o777
FIGURE_LIMIT = 1 << 63
"""What a file system counts sizes, times and inodes with."""

Runs = tuple[tuple[int, int], ...]


class Far(NamedTuple):
    """One line: a file, folder or link of the machine."""

    entry: FileEntry
    inode: int
    runs: Runs
    """Of a file: the ranges [start, end) that hold data, on leaf boundaries; the rest are holes."""

    @property
    def name(self) -> str:
        """The entry's."""
        return self.entry.name

    @property
    def size_bytes(self) -> int:
        """The entry's."""
        return self.entry.size_bytes

    @property
    def stamp(self) -> tuple[int, int, int]:
        """What tells one state of the file from the next: size, mtime and inode."""
        return (self.entry.size_bytes, self.entry.mtime_ns, self.inode)

    @property
    def data_bytes(self) -> int:
        """How much of it holds data."""
        return sum(end - start for start, end in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A folder of the machine."""

    lines: tuple[Far, ...]
    """Sorted by name."""
    skipped: tuple[tuple[str, str], ...]
    """(name, why) of what was left out."""

    @property
    def files(self) -> list[Far]:
        """Those of its lines that are files."""
        return [line for line in self.lines if line.entry.kind is FileKind.FILE]


def listing_of(answer: dict[str, Json]) -> Listing:
    """An answer's entries, safe one by one and together; raises `TransferError`."""
    try:
        lines = [_line(*row) for row in answer["entries"]]
        skipped = tuple((str(name), str(why)) for name, why in answer.get("skipped") or [])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TransferError(f"the machine sent a list of files that is none: {told(repr(error))}") from None
    # How this disk tells names apart is looked at where they are written.
    check_tree([line.entry for line in lines], fold_case=False)
    lines.sort(key=lambda line: line.entry.name)
    return Listing(lines=tuple(lines), skipped=skipped)


def digest_from(text: Json) -> bytes:
    """A digest in hexadecimal; raises `TransferError`."""
    try:
        digest = bytes.fromhex(text)
    except (TypeError, ValueError):
        digest = b""
    if len(digest) != HASH_BYTES:
        raise TransferError(f"the machine sent a digest that is none: {told(repr(text))}")
    return digest


def only_asked(listing: Listing, asked: Sequence[Far]) -> dict[str, Far]:
    """The files of a later answer by name; raises `TransferError` for one that was not asked for."""
    names = {line.name for line in asked}
    for line in listing.lines:
        if line.name not in names:
            raise TransferError(f"the machine sent {shown(line.name)}, which it was not asked for; it was not kept")
    return {line.name: line for line in listing.files}


def figure(value: Json, *, least: int = 0) -> int:
    """A whole number that a file system may say; raises `ValueError` for any other, and for what is none."""
    if type(value) is not int or not least <= value < FIGURE_LIMIT:
        raise ValueError(value)
    return value


def with_digest(far: Far, digest: bytes) -> FileEntry:
    """The entry with its digest."""
    return dataclasses.replace(far.entry, sha256=digest.hex())


def _line(name: str, kind: str, size: int, mtime_ns: int, mode: int, target: str, inode: int, runs: Json = None) -> Far:
    if type(name) is not str or type(target) is not str:
        raise TypeError(name)
    is_file = kind == "f"
    size_bytes = figure(size) if is_file else 0
    entry = FileEntry(
        name=name,
        kind=KINDS[kind],
        size_bytes=size_bytes,
        mode=figure(mode) & MODE_MASK,
        mtime_ns=figure(mtime_ns, least=-FIGURE_LIMIT),
        link_target=target if kind == "l" else "",
    )
    # An inode number may need all 64 bits; it only goes back as it came.
    if type(inode) is not int or not 0 <= inode < 1 << 64:
        raise ValueError(inode)
    return Far(entry, inode, _runs(runs, size_bytes) if runs is not None else _whole(size_bytes))


def _whole(size_bytes: int) -> Runs:
    return ((0, size_bytes),) if size_bytes else ()


def _runs(runs: Json, size_bytes: int) -> Runs:
    found = tuple((figure(start), figure(start) + figure(length)) for start, length in runs)
    at = -1
    for start, end in found:
        if not at < start < end <= size_bytes or start % LEAF_BYTES or (end % LEAF_BYTES and end != size_bytes):
            raise ValueError(runs)
        at = end
    return found
