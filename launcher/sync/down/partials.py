"""What is on its way home: a folder beside its goal that outlives a cut, and large files that gather in it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from launcher.agent.hashes import HASH_BYTES, LEAF_BYTES, digest_of_leaves, leaf_count, leaves_of
from launcher.agent.holes import zero_leaves
from launcher.errors import TransferError
from launcher.sync.down.listing import Far
from launcher.sync.names import PARTIAL_PREFIX

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

KEPT_NAME = f"{PARTIAL_PREFIX}kept"
"""The one that the next pull goes on from; a second pull at the same time has one of its own."""
LOCK_NAME = "lock"
STALE_S = 3600.0
CHECK_BYTES = 1 << 22
"""What one thread checks at a time of what an earlier pull left."""
EARLY_BYTES = 1 << 23
HOLE_BYTES = 1 << 30
"""Of which a hole is marked at a time."""
CHECKERS = min(8, os.cpu_count() or 1)
MISSING = bytes(HASH_BYTES)


class Partials:
    """A folder of one pull, locked by it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        self._lock = threading.Lock()

    def new_path(self) -> str:
        """A name for a small file that is being written."""
        with self._lock:
            self._count += 1
            return f"{self.folder}/{self._count}"

    def forget_others(self, wanted: Iterable[Far]) -> None:
        """Remove what an earlier pull left of files that are not wanted, or not in that state."""
        left = [path for path in self.folder.iterdir() if path.name != LOCK_NAME]
        kept = {_key(far) for far in wanted} if left else set()
        for path in left:
            if path.name.partition(".")[0] not in kept:
                path.unlink()


@contextmanager
def partial_folder(dest: Path) -> Iterator[Partials]:
    """A folder in `dest` for what is on its way: the one that an earlier pull left, unless another pull is at it.

    It stays, with the large files in it, where the block ends with anything but success or a `TransferError`.
    """
    _sweep(dest)
    folder, lock = _take(dest)
    kept = False
    try:
        yield Partials(folder)
    except TransferError:
        raise
    except BaseException:
        kept = folder.name == KEPT_NAME and any(folder.glob("*.leaves"))
        raise
    finally:
        if not kept:
            # Its lock goes last, but for Windows, which removes no file that is open.
            if sys.platform == "win32":
                _close(lock)
            shutil.rmtree(folder, ignore_errors=True)
        if kept or sys.platform != "win32":
            _close(lock)


def _take(dest: Path) -> tuple[Path, int]:
    kept = dest / KEPT_NAME
    for _ in range(3):
        kept.mkdir(mode=0o700, exist_ok=True)
        lock = -1 if kept.is_symlink() else _lock(kept)
        if lock < 0:
            break
        # Whoever had it may have removed it just now.
        if (kept / LOCK_NAME).exists() and os.path.samestat(os.fstat(lock), (kept / LOCK_NAME).stat()):
            return kept, lock
        _close(lock)
    own = Path(tempfile.mkdtemp(prefix=PARTIAL_PREFIX, dir=dest))
    return own, _lock(own)


def _lock(folder: Path) -> int:
    """An open file that nobody else has locked; -1 where somebody has, or where that cannot be known."""
    try:
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return -1
    try:
        if sys.platform == "win32":
            msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return -1
    return lock


def _close(lock: int) -> None:
    if lock >= 0:
        os.close(lock)


def forget(dest: Path) -> None:
    """Remove what killed pulls into a folder left there, of one that nothing comes home to any more."""
    for folder in dest.glob(PARTIAL_PREFIX + "*"):
        _remove(folder)


def _sweep(dest: Path) -> None:
    """Remove what killed pulls left that nobody will go on from; a living one holds its lock."""
    for folder in dest.glob(PARTIAL_PREFIX + "*"):
        with suppress(OSError):
            if folder.name != KEPT_NAME and time.time() - folder.stat().st_mtime >= STALE_S:
                _remove(folder)


def _remove(folder: Path) -> None:
    lock = _lock(folder)
    if lock >= 0:
        _close(lock)
        shutil.rmtree(folder, ignore_errors=True)


class Partial:
    """A large file that gathers, ranges of it from several threads at once; beside it lie the leaves of what is there.

    A leaf that is not there yet is zeros.
    """

    def __init__(self, partials: Partials, far: Far) -> None:
        self.far = far
        self.path = f"{partials.folder}/{_key(far)}"
        self.dropped = False
        self._leaves_path = f"{self.path}.leaves"
        self._there = bytearray()
        self._left = leaf_count(far.size_bytes)
        self._data = self._marks = -1
        self._lock = threading.Lock()

    @property
    def allocated_bytes(self) -> int:
        """What an earlier pull left takes on the disk."""
        try:
            found = Path(self.path).stat()
        except OSError:
            return 0
        return found.st_blocks * 512 if sys.platform != "win32" else 0

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self._left

    def begin(self) -> int:
        """Open it and take what an earlier pull left, as far as it is right; gives its bytes. Raises `OSError`."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        self._data = os.open(self.path, flags, 0o600)
        self._marks = os.open(self._leaves_path, flags, 0o600)
        size = self.far.size_bytes
        self._there = bytearray(leaf_count(size))
        found_bytes = 0
        if os.fstat(self._data).st_size == size and os.fstat(self._marks).st_size:
            found_bytes = self._check()
        os.ftruncate(self._data, size)
        at = 0
        for start, end in (*self.far.runs, (size, size)):
            self.zero(at, start - at)
            at = end
        return found_bytes

    def missing(self) -> Iterator[tuple[int, int]]:
        """The ranges [start, end) that are not there."""
        at = 0
        while (start := self._there.find(0, at)) >= 0:
            at = self._there.find(1, start)
            at = at if at >= 0 else len(self._there)
            yield start * LEAF_BYTES, min(at * LEAF_BYTES, self.far.size_bytes)

    def write(self, offset: int, content: memoryview, leaves: bytes) -> bool:
        """Keep a range that was verified, and its leaves; tells whether it was the last one. Raises `OSError`."""
        self._put(self._data, content, offset)
        if sys.platform == "linux" and offset and not offset % EARLY_BYTES:
            # The disk begins with what came before, so that the end need not wait for all of it.
            os.posix_fadvise(self._data, offset - EARLY_BYTES, EARLY_BYTES, os.POSIX_FADV_DONTNEED)
        return self._mark(offset, leaves)

    def zero(self, offset: int, length: int) -> bool:
        """Make a range a hole; tells whether it was the last one. Raises `OSError`."""
        if not length and self.far.size_bytes:
            return False
        self._clear(offset, offset + length)
        if not length:
            return self._mark(offset, leaves_of(b""))
        end = offset + length
        last = False
        for at in range(offset, end, HOLE_BYTES):
            last |= self._mark(at, zero_leaves(min(HOLE_BYTES, end - at)))
        return last

    def digest(self) -> bytes:
        """Of the whole, once it is complete."""
        return digest_of_leaves(self._get(self._marks, 0, HASH_BYTES * len(self._there)))

    def close(self) -> None:
        """Close it, as it is."""
        for descriptor in (self._data, self._marks):
            _close(descriptor)
        self._data = self._marks = -1

    def take(self) -> str:
        """Close a complete one, and forget its leaves; gives its path."""
        self.close()
        Path(self._leaves_path).unlink()
        return self.path

    def drop(self) -> None:
        """Close and remove it."""
        self.dropped = True
        self.close()
        for path in (self.path, self._leaves_path):
            Path(path).unlink(missing_ok=True)

    def _mark(self, offset: int, leaves: bytes) -> bool:
        first, count = offset // LEAF_BYTES, len(leaves) // HASH_BYTES
        self._put(self._marks, memoryview(leaves), first * HASH_BYTES)
        with self._lock:
            fresh = self._there.count(0, first, first + count)
            self._there[first : first + count] = b"\1" * count
            self._left -= fresh
            return bool(fresh) and not self._left

    def _check(self) -> int:
        """Compare what lies there with its leaves: the disk may not have kept all that was written before a crash."""
        marks = self._get(self._marks, 0, HASH_BYTES * len(self._there))
        marks += bytes(HASH_BYTES * len(self._there) - len(marks))
        with ThreadPoolExecutor(CHECKERS) as pool:
            spans = range(0, self.far.size_bytes, CHECK_BYTES)
            found_bytes = sum(pool.map(lambda start: self._check_span(start, marks), spans))
        self._left = self._there.count(0)
        return found_bytes

    def _check_span(self, start: int, marks: bytes) -> int:
        length = min(CHECK_BYTES, self.far.size_bytes - start)
        first = start // LEAF_BYTES
        expected = marks[first * HASH_BYTES : (first + leaf_count(length)) * HASH_BYTES]
        if expected == bytes(len(expected)):
            return 0
        found = leaves_of(self._get(self._data, start, length))
        good_bytes = 0
        for number in range(leaf_count(length)):
            at = number * HASH_BYTES
            if found[at : at + HASH_BYTES] == expected[at : at + HASH_BYTES]:
                self._there[first + number] = 1
                good_bytes += min(LEAF_BYTES, length - number * LEAF_BYTES)
        return good_bytes

    def _put(self, descriptor: int, data: memoryview, offset: int) -> None:
        if sys.platform == "win32":
            with self._lock:
                os.lseek(descriptor, offset, os.SEEK_SET)
                while data:
                    data = data[os.write(descriptor, data) :]
            return
        while data:
            done = os.pwrite(descriptor, data, offset)
            data, offset = data[done:], offset + done

    def _get(self, descriptor: int, offset: int, length: int) -> bytes:
        if sys.platform == "win32":
            with self._lock:
                os.lseek(descriptor, offset, os.SEEK_SET)
                return os.read(descriptor, length)
        return os.pread(descriptor, length, offset)

    def _clear(self, start: int, end: int) -> None:
        """Zeros, over what a torn write of an earlier pull may have left there; a hole stays one."""
        while start < end:
            try:
                start = os.lseek(self._data, start, os.SEEK_DATA)
                stop = min(end, os.lseek(self._data, start, os.SEEK_HOLE))
            except AttributeError:  # Windows knows no holes here
                stop = end
            except OSError:
                return
            stop = min(stop, start + CHECK_BYTES)
            if start < stop:
                self._put(self._data, memoryview(bytes(stop - start)), start)
            start = max(start, stop)


def _key(far: Far) -> str:
    """A content in another state gathers elsewhere."""
    text = f"{far.name}\0{far.size_bytes}\0{far.mtime_ns}"
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
