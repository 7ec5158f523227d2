"""Where a tree comes up: every file is staged and verified, then all of them are put in place under a journal.

Beside a folder lie its record (`.pushed-NAME`: what was pushed into it) and, while something is on its way, its stage
(`.staging-NAME`): `tree/` holds files that are whole, `parts/` large ones that are not yet, each with the leaves of
what has been verified, `rows/` the lines of the whole ones. `commit` is the journal: from the moment that it is there
the update is decided, and whoever comes next finishes it. Nothing is fsynced: a machine that crashes does not come
back, and its run goes on elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from hashlib import sha256
from typing import TYPE_CHECKING

from .files import read_json
from .hashes import HASH_BYTES
from .wire import Json

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = stat.S_IRWXU
MISSING = bytes(HASH_BYTES)
"""In the place of a leaf that was not verified yet."""
HALF = b'{"half": true'
"""How the record begins where an update was given up."""


class Place:
    """A folder that is pushed into, with its record and its stage."""

    def __init__(self, root: str) -> None:
        above, name = os.path.split(root)
        self.root = root
        self.record = os.path.join(above, f".pushed-{name}")
        self.lock = os.path.join(above, f".lock-{name}")
        self.stage = os.path.join(above, f".staging-{name}")
        self.tree = f"{self.stage}/tree"
        self.parts = f"{self.stage}/parts"
        self.rows = f"{self.stage}/rows"
        self.journal = f"{self.stage}/commit"
        self.link = f"{self.stage}/link"
        self.new_record = f"{self.stage}/record"

    def items(self) -> list[Json]:
        """What was pushed: [name, kind, size, mtime_ns, mode, link target, digest], sorted by name.

        An eighth column is the time that the disk made of `mtime_ns`, where it cannot hold that.
        """
        found = self.recorded()
        return found["items"] if found else []

    def is_half(self) -> bool:
        """Whether an update was given up when it was done in part; no more is read than tells it."""
        try:
            with open(self.record, "rb") as file:
                return file.read(len(HALF)) == HALF
        except FileNotFoundError:
            return False

    def recorded(self) -> Json | None:
        """The record; `None` where there is none, or one that cannot be read."""
        try:
            found = read_json(self.record)
        except ValueError:
            return None
        return found if isinstance(found, dict) and {"items", "digest"} <= set(found) else None

    def open_stage(self) -> None:
        """Make the stage's folders."""
        for folder in (self.tree, self.parts, self.rows):
            os.makedirs(folder, mode=0o700, exist_ok=True)

    def part(self, name: str, size: int, mtime_ns: int) -> str:
        """Where a large file gathers: another content of the same name gathers elsewhere."""
        return f"{self.parts}/{part_key(name, size, mtime_ns)}"

    def staged_rows(self) -> dict[str, Json]:
        """The lines of the files that are whole in the stage, by name; a file that is not as its line says is not.

        Of several for a name the last counts that is as the file is: a clock that was set back misorders them.
        """
        found: dict[str, list[Json]] = {}
        if not os.path.isdir(self.rows):
            return found
        for log in sorted(os.listdir(self.rows)):
            with open(f"{self.rows}/{log}", encoding="ascii") as file:
                for line in file:
                    with contextlib.suppress(ValueError):  # the last line of a process that was killed
                        row = json.loads(line)
                        found.setdefault(row[0], []).append(row)
        whole = {}
        for name, rows in found.items():
            now = present(self.tree, rows[0])
            for row in rows:
                if as_lies(row) == now:
                    whole[name] = row
        return whole


def part_key(name: str, size: int, mtime_ns: int) -> str:
    """The file name of a part."""
    return sha256(f"{name}\0{size}\0{mtime_ns}".encode("utf-8", "surrogateescape")).hexdigest()[:32]


def as_lies(row: Json) -> Json:
    """The line as `present` tells it of a file that nothing has touched."""
    return [*row[:3], row[7], *row[4:6]] if len(row) > 7 else row[:6]


def present(root: str, item: Json) -> Json | None:
    """The line as the file system has it now; `None` where that name is gone."""
    path = f"{root}/{item[0]}"
    try:
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode):
            return [item[0], "f", found.st_size, found.st_mtime_ns, found.st_mode & 0o777, ""]
        if stat.S_ISDIR(found.st_mode):
            return [item[0], "d", 0, 0, found.st_mode & 0o777 | OWNER, ""]
        if stat.S_ISLNK(found.st_mode):
            return [item[0], "l", 0, 0, 0, os.readlink(path)]
    except OSError:
        return None
    return [item[0], "?", 0, 0, 0, ""]


def set_mtime(file: int | str, mtime_ns: int) -> list[int]:
    """Set the time of a file, open or named; gives what the disk made of it, if that is another.

    ext4 ends in 1901 and 2446, others hold whole seconds.
    """
    os.utime(file, ns=(mtime_ns, mtime_ns))
    real_ns = os.stat(file).st_mtime_ns
    return [] if real_ns == mtime_ns else [real_ns]


@contextlib.contextmanager
def sole(place: Place, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Nobody else commits there meanwhile; nor stages anything, unless `kind` is LOCK_SH."""
    os.makedirs(os.path.dirname(place.lock), exist_ok=True)
    with open(place.lock, "a", encoding="ascii") as file:
        fcntl.flock(file, kind)
        yield
