"""What comes, parcel by parcel: verified, and written to the stage."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import threading
import time
from typing import TYPE_CHECKING

from .codec import Codec
from .files import COPY_BYTES, at_home, below, free_bytes, in_threads, is_folder, write_at
from .hashes import HASH_BYTES, LEAF_BYTES, digest_of, digest_of_leaves, leaf_count, leaves_of
from .parcels import NUMBER, split
from .place import MISSING, Place, set_mtime
from .wire import Json, Wire, frame_of, write_all

if TYPE_CHECKING:
    from .hashes import Data

OPEN_PARTS = 16
ANSWERS_BYTES = 36
"""Of four parcels: each answer that goes alone wakes two processes and three threads."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def take(wire: Wire, request: Json) -> Json:
    """Take parcels in, one answer each, until the end is told; other lanes may bring others at the same time."""
    place = Place(at_home(request["root"]))
    place.open_stage()
    intake = Intake(place)
    codec = Codec()
    answers = bytearray()
    old = os.umask(0)  # files get their mode when they are made
    try:
        while True:
            if answers and (len(answers) >= ANSWERS_BYTES or not wire.waiting()):
                write_all(wire.sink, bytes(answers))
                answers.clear()
            kind, payload = wire.receive()
            if kind in {b"J", b"j"}:
                write_all(wire.sink, bytes(answers))
                return {"taken": intake.parcels}
            try:
                why = intake.accept(codec.unpack(kind, memoryview(payload)[NUMBER.size :]))
            except ValueError as error:
                why = str(error)
            except OSError as error:
                raise with_room(error, place, request.get("need_bytes", 0)) from None
            answers += frame_of(b"N" if why else b"A", bytes(payload[: NUMBER.size]) + why.encode("utf-8", "replace"))
    finally:
        os.umask(old)
        intake.close()


class Intake:
    """Verifies parcels and writes them to the stage."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.parcels = 0
        self.folders: set[str] = set()
        self.open: dict[str, tuple[int, int]] = {}
        self.noting = threading.Lock()
        self.gate = os.open(place.lock, os.O_RDWR | os.O_CREAT, 0o600)
        # Named by time: of two lines for one name the later one counts.
        self.rows = os.open(
            f"{place.rows}/{time.time_ns():020d}-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )

    def accept(self, body: Data) -> str:
        """Take one parcel in; says why not, if so. Raises `ValueError` for what is no parcel.

        Never while the stage is put in place: what a dead line still brings must not change files that lie there.
        """
        header, digests, contents = split(body)
        self.parcels += 1
        fcntl.flock(self.gate, fcntl.LOCK_SH)
        try:
            if not os.fstat(self.rows).st_nlink:
                return "another upload has ended this one"
            if "files" in header:
                return self.take_files(header["files"], digests, contents)
            if "parts" in header:
                return self.take_parts(header["parts"], digests, contents)
            return self.seal(header["seal"], digests[0])
        finally:
            fcntl.flock(self.gate, fcntl.LOCK_UN)

    def take_files(self, rows: list[Json], digests: list[bytes], contents: memoryview) -> str:
        """Whole files."""
        at = 0
        lines = []
        for (name, size, mtime_ns, mode), digest in zip(rows, digests):  # noqa: B905  (Python 3.8)
            content = contents[at : at + size]
            at += size
            if len(content) != size or digest_of(content) != digest:
                return f"{name}: what came is not what was sent"
            path = self.path_of(name)
            descriptor, partial = self.new_file(path, mode)
            try:
                if size:
                    write_all(descriptor, content)
                real_ns = set_mtime(descriptor, mtime_ns)
            finally:
                os.close(descriptor)
            if partial:
                put(partial, path)
            lines.append(json.dumps([name, "f", size, mtime_ns, mode, "", digest.hex(), *real_ns]) + "\n")
        self.note("".join(lines))
        return ""

    def note(self, lines: str) -> None:
        """Write lines of whole files, all or none: half a line would spoil the next."""
        with self.noting:
            end = os.fstat(self.rows).st_size
            try:
                write_all(self.rows, lines.encode("ascii"))
            except OSError:
                os.ftruncate(self.rows, end)
                raise

    def path_of(self, name: str) -> str:
        """Where a whole file waits; its folder is made."""
        path = below(self.place.tree, name)
        folder = path.rpartition("/")[0]
        if folder not in self.folders:
            try:
                os.makedirs(folder, mode=0o700, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                clear_way(self.place.tree, name)
                os.makedirs(folder, mode=0o700, exist_ok=True)
            self.folders.add(folder)
        return path

    def new_file(self, path: str, mode: int) -> tuple[int, str]:
        """A file that is nobody else's, open, and its name until it is whole; empty where that is `path` itself.

        What lies there already may be linked to a file in place, or come from another line that writes it still.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            return os.open(path, flags, mode), ""
        except FileExistsError:
            partial = f"{self.place.parts}/{os.getpid()}.file"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
            return os.open(partial, flags, mode), partial

    def take_parts(self, header: Json, digests: list[bytes], contents: memoryview) -> str:
        """Ranges [offset, length, whether all zeros] of a large file; zeros come without content and stay a hole."""
        name, size, mtime_ns, rows = header
        data, marks = self.descriptors(self.place.part(name, size, mtime_ns), size)
        at = 0
        for (offset, length, zeros), digest in zip(rows, digests):  # noqa: B905  (Python 3.8)
            content = memoryview(bytes(length)) if zeros else contents[at : at + length]
            at += 0 if zeros else length
            leaves = leaves_of(content)
            wrong = len(content) != length or offset < 0 or offset + length > size
            if wrong or digest_of_leaves(leaves) != digest:
                return f"{name}: what came is not what was sent"
            if not zeros or holds_data(data, offset, length):
                write_at(data, content, offset)
            if not offset % LEAF_BYTES and (not length % LEAF_BYTES or offset + length == size):
                os.pwrite(marks, leaves, offset // LEAF_BYTES * HASH_BYTES)
        return ""

    def descriptors(self, path: str, size: int) -> tuple[int, int]:
        """A part and its leaves, open."""
        if path in self.open and not os.fstat(self.open[path][1]).st_nlink:
            self.let_go(path)  # sealed meanwhile, over another line
        if path not in self.open:
            if len(self.open) >= OPEN_PARTS:
                self.let_go(next(iter(self.open)))
            data, marks = (os.open(path + end, os.O_RDWR | os.O_CREAT, 0o600) for end in ("", ".leaves"))
            self.open[path] = (data, marks)
            if os.fstat(data).st_size != size:
                os.ftruncate(data, size)
        return self.open[path]

    def seal(self, row: Json, digest: bytes) -> str:
        """Check a large file as a whole and put it with the others; what was cloned is hashed now."""
        name, size, mtime_ns, mode = row
        path = self.place.part(name, size, mtime_ns)
        line = [name, "f", size, mtime_ns, mode, "", digest.hex()]
        target = self.path_of(name)
        if os.path.lexists(target) and self.place.staged_rows().get(name, [])[:7] == line:
            return ""  # done before, but the line broke before the answer was through, or it brought a part once more
        data, marks = self.descriptors(path, size)
        if digest_of_leaves(all_leaves(data, marks, size)) != digest:
            self.let_go(path)
            os.unlink(f"{path}.leaves")
            return f"{name}: what came together is not what was sent"
        fcntl.flock(self.gate, fcntl.LOCK_EX)  # no line that is dead for the laptop writes to it any more
        os.fchmod(data, mode)
        line += set_mtime(data, mtime_ns)
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(target)  # or the line would be told of another content of that size and time
        # The line comes first: with the file in its place and no line it would seem never to have come.
        self.note(f"{json.dumps(line)}\n")
        put(path, target)
        self.let_go(path)
        os.unlink(f"{path}.leaves")
        return ""

    def let_go(self, path: str) -> None:
        """Close a part."""
        for descriptor in self.open.pop(path):
            os.close(descriptor)

    def close(self) -> None:
        """Close everything."""
        for path in list(self.open):
            self.let_go(path)
        os.close(self.rows)
        os.close(self.gate)


def put(partial: str, path: str) -> None:
    """Have a staged file take its place in the stage, where an earlier transfer may have had a folder."""
    try:
        os.rename(partial, path)
    except IsADirectoryError:
        shutil.rmtree(path)
        os.rename(partial, path)


def clear_way(tree: str, name: str) -> None:
    """Remove files of an earlier transfer that lie where now the folders of `name` belong."""
    parts = name.split("/")
    for count in range(1, len(parts)):
        path = "/".join([tree, *parts[:count]])
        if os.path.lexists(path) and not is_folder(path):
            os.unlink(path)


def with_room(error: OSError, place: Place, need_bytes: int) -> OSError:
    """The error, which tells of a full disk how full it is."""
    if error.errno not in FULL:
        return error
    room = f"{need_bytes / 1e6:.1f} MB were to come, {free_bytes(place.root) / 1e6:.1f} MB are free"
    return OSError(error.errno, f"{error.strerror}: {room}", error.filename or "the disk")


def holds_data(descriptor: int, offset: int, length: int) -> bool:
    """Whether something was written there: a clone that was cut off leaves what may not stay where zeros belong."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA) < offset + length
    except OSError as error:
        return error.errno != errno.ENXIO  # a file system that does not tell is not believed


def all_leaves(data: int, marks: int, size: int) -> bytes:
    """The leaves of a part; those that no range brought are computed, by several threads."""
    count = leaf_count(size)
    leaves = bytearray(os.pread(marks, count * HASH_BYTES, 0).ljust(count * HASH_BYTES, b"\0"))
    step = COPY_BYTES // LEAF_BYTES

    def fill(first: int) -> None:
        many = min(step, count - first)
        if leaves.find(MISSING, first * HASH_BYTES, (first + many) * HASH_BYTES) < 0:
            return
        content = os.pread(data, many * LEAF_BYTES, first * LEAF_BYTES)
        fresh = leaves_of(content[: size - first * LEAF_BYTES])
        for number in range(many):
            at = (first + number) * HASH_BYTES
            if leaves[at : at + HASH_BYTES] == MISSING:
                leaves[at : at + HASH_BYTES] = fresh[number * HASH_BYTES : (number + 1) * HASH_BYTES]

    in_threads(fill, range(0, count, step), os.cpu_count() or 1)
    return bytes(leaves)
