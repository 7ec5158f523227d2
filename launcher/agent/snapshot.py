"""A folder as it was at one moment: every file held open, so that what is renamed over it later does not matter."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

from .files import COPY_BYTES, open_file
from .outgo import UNREADABLE, walk
from .post import Altered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .outgo import Row


class Chunk(NamedTuple):
    """A stretch of an open file, and what it holds."""

    file: int
    offset: int
    size: int
    sha256: str


class Changing(Exception):
    """The folder changes while it is looked at; the next moment may be a better one."""


class Snapshot:
    """The files of one folder, to be read until `close`.

    One that is `strict` is whole or raises `Changing`; another takes each file as it finds it, for a folder that a job
    goes on writing to.
    """

    def __init__(self, root: str, *, strict: bool) -> None:
        self.root = root
        self.strict = strict
        self.rows: list[Row] = []
        self.seen: list[Row] = []
        """All that a look shows, also what is left out."""
        self.files: dict[str, int] = {}
        self.skipped: list[list[str]] = []
        try:
            self.take()
        except BaseException:
            self.close()
            raise

    def take(self) -> None:
        """Open everything between two looks that must not differ."""
        self.seen = look(self.root, self.skipped)
        for row in self.seen:
            if row[1] != "f" or self.hold(row):
                self.rows.append(row)
        if self.strict and look(self.root, []) != self.seen:
            raise Changing(self.root)

    def hold(self, row: Row) -> bool:
        """Open a file; whether it was still there. One that we may not read is left out: no moment is better."""
        try:
            file = open_file(f"{self.root}/{row[0]}")
        except PermissionError as error:
            self.skipped.append([row[0], f"{UNREADABLE}: {error.strerror}"])
            return False
        except OSError as error:
            if self.strict or not isinstance(error, FileNotFoundError):
                raise Changing(f"{row[0]}: {error.strerror}") from None
            return False
        self.files[row[0]] = file
        found = os.fstat(file)
        now = [found.st_size, found.st_mtime_ns, found.st_ino]
        if self.strict and now != [row[2], row[3], row[6]]:
            raise Changing(row[0])
        row[2], row[3], row[6] = now
        return True

    def unreadable(self) -> list[str]:
        """What is left out since it cannot be read."""
        return [f"{name} {why}" for name, why in self.skipped if why.startswith(UNREADABLE)]

    def check(self) -> None:
        """Raise `Changing` if a file that must not was written to since."""
        for row in self.rows:
            if self.strict and row[1] == "f":
                found = os.fstat(self.files[row[0]])
                if [found.st_size, found.st_mtime_ns] != row[2:4]:
                    raise Changing(row[0])

    def close(self) -> None:
        """Let go of the files."""
        while self.files:
            os.close(self.files.popitem()[1])


def look(root: str, skipped: list[list[str]]) -> list[Row]:
    """What lies there, in order: [name, kind f|d|l, size, mtime_ns, mode, link target, inode]."""
    return sorted(row[:7] for row in walk(root, skipped))


def blocks_of(file: int, offset: int, size: int) -> Iterator[bytes]:
    """A stretch of a file, piece by piece; raises `Altered` where the file is shorter or cannot be read."""
    end = offset + size
    while offset < end:
        try:
            block = os.pread(file, min(COPY_BYTES, end - offset), offset)
        except OSError as error:
            raise Altered(error.strerror) from None
        if not block:
            raise Altered("it became shorter")
        offset += len(block)
        yield block


def sha256_of(file: int, offset: int, size: int) -> str:
    """The digest of a stretch of a file, in hexadecimal digits; raises `Altered` as `blocks_of` does."""
    digest = hashlib.sha256()
    for block in blocks_of(file, offset, size):
        digest.update(block)
    return digest.hexdigest()
