"""What the machine says lies in a folder, every name, size and run of it checked before anything is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from launcher.agent.hashes import HASH_BYTES, LEAF_BYTES
from launcher.domain import FileEntry, FileKind
from launcher.errors import TransferError
from launcher.sync.names import check_tree, shown, told
from launcher.sync.wire.frames import Json

KINDS = {"f": FileKind.FILE, "d": FileKind.DIRECTORY, "l": FileKind.SYMLINK}
MODE_MASK = 0o777
FIGURE_LIMIT = 1 << 63
"""What a file system counts sizes, times and inodes with."""

Runs = tuple[tuple[int, int], ...]


class Far(NamedTuple):
    """One line: a file, folder or link of the machine; a tuple, since there may be a hundred thousand of them."""

    name: str
    kind: FileKind
    size_bytes: int
    mtime_ns: int
    mode: int
    link_target: str
    inode: int
    data: Runs | None
    """Of a file with holes: where its data is."""

    @property
    def stamp(self) -> tuple[int, int, int]:
        """What tells one state of the file from the next: size, mtime and inode."""
        return (self.size_bytes, self.mtime_ns, self.inode)

    @property
    def runs(self) -> Runs:
        """The ranges [start, end) that hold data, on leaf boundaries; the rest are holes."""
        if self.data is not None:
            return self.data
        return ((0, self.size_bytes),) if self.size_bytes else ()

    @property
    def data_bytes(self) -> int:
        """How much of it holds data."""
        return self.size_bytes if self.data is None else sum(end - start for start, end in self.data)

    def entry(self, digest: bytes) -> FileEntry:
        """The line of a manifest; `digest` is empty for what is no file."""
        return FileEntry(
            name=self.name,
            kind=self.kind,
            size_bytes=self.size_bytes,
            mode=self.mode,
            mtime_ns=self.mtime_ns,
            sha256=digest.hex(),
            link_target=self.link_target,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A folder of the machine."""

    lines: tuple[Far, ...]
    """Sorted by name."""
    skipped: tuple[tuple[str, str], ...]
    """(name, why) of what was left out."""
    state: str = ""
    """What the machine calls it as it is now, so that it can be asked whether that has changed."""

    @property
    def files(self) -> list[Far]:
        """Those of its lines that are files."""
        return [line for line in self.lines if line.kind is FileKind.FILE]


def listing_of(answer: dict[str, Json]) -> Listing:
    """An answer's entries, safe one by one and together; raises `TransferError`."""
    try:
        lines = [_line(*row) for row in answer["entries"]]
        skipped = tuple((str(name), str(why)) for name, why in answer.get("skipped") or [])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TransferError(f"the machine sent a list of files that is none: {told(repr(error))}") from None
    # How this disk tells names apart is looked at where they are written.
    check_tree(lines, fold_case=False)
    lines.sort(key=itemgetter(0))
    state = answer.get("state")
    return Listing(lines=tuple(lines), skipped=skipped, state=state if isinstance(state, str) else "")


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


def _line(name: str, kind: str, size: int, mtime_ns: int, mode: int, target: str, inode: int, runs: Json = None) -> Far:
    if type(name) is not str or type(target) is not str:
        raise TypeError(name)
    size_bytes = figure(size) if kind == "f" else 0
    figure(mtime_ns, least=-FIGURE_LIMIT)
    # An inode number may need all 64 bits; it only goes back as it came.
    if type(inode) is not int or not 0 <= inode < 1 << 64:
        raise ValueError(inode)
    data = None if runs is None else _runs(runs, size_bytes)
    target = target if kind == "l" else ""
    return Far(name, KINDS[kind], size_bytes, mtime_ns, figure(mode) & MODE_MASK, target, inode, data)


def _runs(runs: Json, size_bytes: int) -> Runs:
    found = tuple((figure(start), figure(start) + figure(length)) for start, length in runs)
    at = -1
    for start, end in found:
        if not at < start < end <= size_bytes or start % LEAF_BYTES or (end % LEAF_BYTES and end != size_bytes):
            raise ValueError(runs)
        at = end
    return found
