"""Trees that go home: what lies there, its digests, and its contents in numbered parcels."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import stat
import threading
import time
from hashlib import sha256
from typing import TYPE_CHECKING

from .codec import Codec, pays
from .files import at_home, below, in_threads, open_file
from .hashes import digest_of, digest_of_leaves
from .holes import leaves_of_file, read_at, runs_of
from .parcels import NUMBER, join
from .wire import HEADER, Json, Wire

if TYPE_CHECKING:
    from typing import Any

    Row = list[Any]

OPEN_FILES = 8
"""Large files that stay open between two ranges of them."""
AHEAD = 2
"""Answers that may wait while one is written."""
UNREADABLE = "cannot be read"
VANISHED = (FileNotFoundError, NotADirectoryError)


# --- what lies there ------------------------------------------------------------------------------------------------


def look(_wire: Wire, request: Json) -> Json:
    """What lies in a folder, or what has become of the names asked for; rows as `row_of` makes them, none is read.

    `state` stands for all of it: a look `unless` that is still the state answers only that it is the `same`.
    """
    root = at_home(request["root"])
    names = request.get("names")
    skipped: list[Json] = []
    rows = walk(root, skipped) if names is None else named(root, names)
    rows.sort()
    state = sha256(json.dumps(rows).encode("ascii")).hexdigest()
    if state == request.get("unless"):
        return {"same": True}
    return {"entries": rows, "skipped": skipped, "state": state}


def walk(root: str, skipped: list[Json]) -> list[Row]:
    """The rows of all that is below `root`; what cannot go goes to `skipped` as [name, why]."""
    rows: list[Row] = []
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(f"{root}/{prefix}") as found:
                items = list(found)
        except OSError as error:
            if error.errno != errno.ENOENT:
                skipped.append([prefix.rstrip("/") or ".", f"{UNREADABLE}: {error.strerror}"])
            continue
        for item in items:
            with contextlib.suppress(*VANISHED):
                row = row_of(root, prefix + item.name, item.stat(follow_symlinks=False))
                if isinstance(row, str):
                    skipped.append([prefix + item.name, row])
                    continue
                rows.append(row)
                if row[1] == "d":
                    waiting.append(f"{prefix}{item.name}/")
    return rows


def named(root: str, names: list[str]) -> list[Row]:
    """The rows of those names that are still there."""
    rows = []
    for name in names:
        with contextlib.suppress(*VANISHED):
            row = row_of(root, name, os.lstat(below(root, name)))
            if not isinstance(row, str):
                rows.append(row)
    return rows


def row_of(root: str, name: str, found: os.stat_result) -> Row | str:
    """[name, kind f|d|l, size, mtime_ns, mode, link target, inode], or why it cannot go; raises `OSError`.

    A file with holes has an eighth column: the runs [offset, length] that hold data, on leaf boundaries.
    """
    mode = stat.S_IMODE(found.st_mode) & 0o777
    if stat.S_ISREG(found.st_mode):
        row = [name, "f", found.st_size, found.st_mtime_ns, mode, "", found.st_ino]
        if found.st_blocks * 512 < found.st_size:
            runs = runs_at(f"{root}/{name}", found.st_size)
            return row if runs is None else [*row, runs]
        return row
    if stat.S_ISDIR(found.st_mode):
        return [name, "d", 0, 0, mode, "", 0]
    if not stat.S_ISLNK(found.st_mode):
        return "is neither a file, a folder nor a link"
    target = inner_target(root, f"{root}/{name}")
    return "is a link that leads out" if target is None else [name, "l", 0, 0, 0, target, 0]


def inner_target(root: str, path: str) -> str | None:
    """Where the link at `path` leads, relative to it, if that lies in `root`; else `None`."""
    target = os.readlink(path)
    depth = os.path.relpath(path, root).count("/")
    parts = target.split("/")
    ups = parts.count("..")
    if target and not target.startswith("/") and parts[:ups] == [".."] * ups and ups <= depth:
        return target
    real_root, real = os.path.realpath(root), os.path.realpath(path)
    if real == real_root or real.startswith(real_root + "/"):
        return os.path.relpath(real, os.path.realpath(os.path.dirname(path)))
    return None


def runs_at(path: str, size: int) -> list[list[int]] | None:
    """The runs of a file that hold data; `None` where that cannot be known."""
    try:
        descriptor = open_file(path)
    except OSError:
        return None
    try:
        return runs_of(descriptor, size)
    finally:
        os.close(descriptor)


# --- digests --------------------------------------------------------------------------------------------------------


def hash_files(_wire: Wire, request: Json) -> Json:
    """[name, size, mtime_ns, digest] of the files asked for; those that are gone or cannot be read are left out."""
    root = at_home(request["root"])
    rows: list[Json] = []

    def hash_one(name: str) -> None:
        with contextlib.suppress(OSError):
            descriptor = open_file(below(root, name))
            try:
                found = os.fstat(descriptor)
                if stat.S_ISREG(found.st_mode):
                    digest = digest_of_leaves(leaves_of_file(descriptor, found.st_size))
                    rows.append([name, found.st_size, found.st_mtime_ns, digest.hex()])
            finally:
                os.close(descriptor)

    in_threads(hash_one, request["names"], min(8, os.cpu_count() or 1))
    return {"digests": sorted(rows)}


# --- contents -------------------------------------------------------------------------------------------------------


def give(wire: Wire, request: Json) -> Json:
    """Answer requests for contents until the end is told, each with one frame that carries its number.

    `files` [[name, size, mtime_ns, inode], ...] are small ones, whole; `range` [name, offset, length, size, mtime_ns,
    inode] is a piece of a large one; `hold` [name, ...] opens files and keeps them: later ranges come from what was
    opened, whatever happens to the name.
    """
    shelf = Shelf(at_home(request["root"]))
    codec = Codec()
    effort = Effort()
    writer = Writer(wire)
    try:
        while True:
            began = time.monotonic()
            asked = wire.receive_json()
            effort.asked_s += time.monotonic() - began
            if asked.get("end"):
                writer.finish()
                return {}
            number = NUMBER.pack(asked["n"])
            if "hold" in asked:
                held = json.dumps(shelf.hold(asked["hold"]), separators=(",", ":"))
                writer.put(b"A", number, held.encode("ascii"))
                continue
            parts = whole_files(shelf, asked["files"]) if "files" in asked else one_range(shelf, *asked["range"])
            kind, level = b"P", effort.level()
            if level and pays(max(parts, key=len)):
                kind, packed = codec.pack(b"".join(parts), level)
                parts = [packed]
            began = time.monotonic()
            writer.put(kind, number, *parts)
            effort.line_s += time.monotonic() - began
    finally:
        writer.stop()
        shelf.close()


class Effort:
    """How hard to compress: harder where the line is what holds up, not at all where reading and packing do."""

    LEVELS = (0, 1, 3, 6)
    EASY = 1
    """What there is always time for where the laptop asks for less than could be packed."""
    WAITS = 0.25
    """From this share of the time on it is said to hold up."""

    def __init__(self) -> None:
        self.step = self.EASY
        self.began = time.monotonic()
        self.asked_s = self.line_s = 0.0

    def level(self) -> int:
        """The level of the next parcel, by what the time since the last one went into; 0 is none."""
        now = time.monotonic()
        enough_s = self.WAITS * (now - self.began)
        if self.line_s > enough_s:
            self.step = min(self.step + 1, len(self.LEVELS) - 1)
        elif self.step < self.EASY and self.asked_s > enough_s:
            self.step += 1
        elif self.step > self.EASY or self.asked_s <= enough_s:
            self.step = max(self.step - 1, 0)
        self.began, self.asked_s, self.line_s = now, 0.0, 0.0
        return self.LEVELS[self.step]


def whole_files(shelf: Shelf, files: Json) -> list[bytes]:
    """A parcel of small files; the header tells what became of each."""
    rows: list[Json] = []
    digests = []
    contents = []
    for name, *stamp in files:
        try:
            content = shelf.read_whole(name, stamp)
        except OSError as error:
            rows.append("gone" if isinstance(error, VANISHED) else ["unreadable", error.strerror])
            continue
        if content is None:
            rows.append("changed")
            continue
        rows.append("whole")
        digests.append(digest_of(content))
        contents.append(content)
    return [join({"rows": rows}, digests, []), b"".join(contents)]


def one_range(shelf: Shelf, name: str, offset: int, length: int, *stamp: int) -> list[bytes]:
    """A parcel of one piece; one of zeros comes without content."""
    try:
        content = shelf.read_range(name, offset, length, list(stamp))
    except OSError as error:
        return [join({"rows": ["gone" if isinstance(error, VANISHED) else ["unreadable", error.strerror]]}, [], [])]
    if content is None:
        return [join({"rows": ["changed"]}, [], [])]
    if not content[0] and content == bytes(length):
        return [join({"rows": ["hole"]}, [], [])]
    return [join({"rows": ["whole"]}, [digest_of(content)], []), content]


def stamp_of(found: os.stat_result) -> list[int]:
    """What tells one state of a file from the next."""
    return [found.st_size, found.st_mtime_ns, found.st_ino]


class Shelf:
    """Files that are open: the large ones read last, and those that are held."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.open: dict[str, int] = {}
        self.held: dict[str, int] = {}

    def read_whole(self, name: str, stamp: list[int]) -> bytes | None:
        """A file's content; `None` where it is not as it was looked at, before or after. Raises `OSError`."""
        descriptor = open_file(below(self.root, name))
        try:
            if stamp_of(os.fstat(descriptor)) != stamp:
                return None
            content = read_at(descriptor, 0, stamp[0])
            return content if len(content) == stamp[0] and stamp_of(os.fstat(descriptor)) == stamp else None
        finally:
            os.close(descriptor)

    def read_range(self, name: str, offset: int, length: int, stamp: list[int]) -> bytes | None:
        """A piece of a file; `None` where the file is not as it was looked at. Raises `OSError`."""
        if name in self.held:
            content = read_at(self.held[name], offset, length)
            return content if len(content) == length else None
        descriptor = self.descriptor(name)
        content = read_at(descriptor, offset, length)
        if len(content) == length and stamp_of(os.fstat(descriptor)) == stamp:
            return content
        os.close(self.open.pop(name))
        return None

    def descriptor(self, name: str) -> int:
        """The file, open; another one that was not read for long is closed."""
        descriptor = self.open.pop(name, -1)
        if descriptor < 0:
            descriptor = open_file(below(self.root, name))
        self.open[name] = descriptor
        if len(self.open) > OPEN_FILES:
            os.close(self.open.pop(next(iter(self.open))))
        return descriptor

    def hold(self, names: list[str]) -> Json:
        """Open files and keep them in place of those held before: their rows as they are now, and their digests."""
        self.let_go()
        rows: list[Row] = []
        digests: dict[str, str] = {}
        unreadable: list[tuple[str, str]] = []
        for name in names:
            try:
                descriptor = open_file(below(self.root, name))
            except OSError as error:
                if not isinstance(error, VANISHED):
                    unreadable.append((name, f"cannot be read: {error.strerror}"))
                continue
            self.held[name] = descriptor
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                continue
            size = found.st_size
            leaves = leaves_of_file(descriptor, size)
            rows.append([name, "f", size, found.st_mtime_ns, stat.S_IMODE(found.st_mode) & 0o777, "", found.st_ino])
            digests[name] = digest_of_leaves(leaves).hex()
        return {"entries": sorted(rows), "skipped": unreadable, "digests": digests}

    def let_go(self) -> None:
        """Close what is held."""
        while self.held:
            os.close(self.held.popitem()[1])

    def close(self) -> None:
        """Close everything."""
        self.let_go()
        while self.open:
            os.close(self.open.popitem()[1])


class Writer:
    """Writes answers in a thread of its own, so that the next one is read meanwhile."""

    def __init__(self, wire: Wire) -> None:
        self.sink = wire.sink
        self.frames: queue.Queue[list[bytes] | None] = queue.Queue(AHEAD)
        self.broken = False
        self.thread = threading.Thread(target=self.write, daemon=True)
        self.thread.start()

    def write(self) -> None:
        """Until the end, or until the pipe breaks: then the rest is thrown away."""
        while True:
            parts = self.frames.get()
            if parts is None:
                return
            if not self.broken:
                try:
                    write_parts(self.sink, parts)
                except OSError:
                    self.broken = True

    def put(self, kind: bytes, *parts: bytes) -> None:
        """Have a frame written; raises `BrokenPipeError` when nobody reads any more."""
        if self.broken:
            raise BrokenPipeError
        self.frames.put([HEADER.pack(kind, sum(map(len, parts))), *parts])

    def finish(self) -> None:
        """Wait until all is written; raises `BrokenPipeError`."""
        self.stop()
        if self.broken:
            raise BrokenPipeError

    def stop(self) -> None:
        """End the thread; harmless when done twice."""
        if self.thread.is_alive():
            self.frames.put(None)
            self.thread.join()


def write_parts(descriptor: int, parts: list[bytes]) -> None:
    """Write all of them, in a row and without joining them first; raises `OSError`."""
    views = [memoryview(part) for part in parts if part]
    while views:
        done = os.writev(descriptor, views)
        while views and done >= len(views[0]):
            done -= len(views.pop(0))
        if views:
            views[0] = views[0][done:]
