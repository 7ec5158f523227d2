"""Files that go from one machine to another."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FileKind(StrEnum):
    """What a manifest's line stands for."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One line of a manifest; `name` is relative, with `/` between its parts, surrogate-escaped where not UTF-8."""

    name: str
    kind: FileKind
    size_bytes: int
    mode: int
    mtime_ns: int
    sha256: str = ""
    link_target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a tree holds, sorted by name."""

    entries: tuple[FileEntry, ...]

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(entry.size_bytes for entry in self.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferProgress:
    """How far a transfer is; it is over when all its bytes and files are done."""

    label: str
    done_bytes: int
    """Of the files' own bytes, those that are in place over there, however they came to be."""
    total_bytes: int
    """Zero together with `total_files`: not known yet."""
    done_files: int
    total_files: int
    sent_bytes: int = 0
    """Over the line so far, compressed."""
    reused_bytes: int = 0
    """Of `done_bytes`, those that the far side had: unchanged, copied there, or left by a transfer that broke off."""
    connections: int = 0
    """Over how many the bulk goes; zero: not told."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do; never where the totals are unknown."""
        known = self.total_bytes > 0 or self.total_files > 0
        return known and self.done_bytes >= self.total_bytes and self.done_files >= self.total_files
