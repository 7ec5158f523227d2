"""Verified contents put on the disk and into their places, several at a time."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from launcher.domain import FileEntry
from launcher.errors import TransferError
from launcher.sync.partials import Partials

SETTLERS = 8
"""Threads: what they wait for is mostly fsync(2)."""
WAITING_LIMIT = 48
"""Tasks that may wait, so that what comes in faster than the disk takes it does not fill the memory."""
FILES_PER_TASK = 8
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

Content = tuple[FileEntry, memoryview]


class Settler:
    """Takes contents from several threads; when its block ends all of them are in place."""

    def __init__(
        self, dest: Path, partials: Partials, on_done: Callable[[FileEntry], None], on_error: Callable[[OSError], None]
    ) -> None:
        self._dest = dest
        self._partials = partials
        self._on_done = on_done
        self._on_error = on_error
        self._pool = ThreadPoolExecutor(SETTLERS, thread_name_prefix="gpurun-settle")
        self._room = threading.Semaphore(WAITING_LIMIT)
        self._parents: set[str] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Wait until everything is in place."""
        self._pool.shutdown(wait=True)
        if error is None and sys.platform != "win32":  # which opens no folders
            for folder in sorted(self._parents):
                _sync(folder)

    def settle_small(self, contents: Sequence[Content]) -> None:
        """Have whole files written; raises `TransferError` where a link is in the way, `OSError`."""
        for start in range(0, len(contents), FILES_PER_TASK):
            some = contents[start : start + FILES_PER_TASK]
            self._submit(self._write_all, [(entry, content, self._final(entry)) for entry, content in some])

    def settle_large(self, path: str, entry: FileEntry) -> None:
        """Have a file that gathered at `path` put where it belongs; raises as `settle_small`."""
        self._submit(self._move, path, entry, self._final(entry))

    def _submit(self, task: Callable[..., None], *arguments: object) -> None:
        self._room.acquire()

        def run() -> None:
            try:
                task(*arguments)
            except OSError as error:
                self._on_error(error)
            finally:
                self._room.release()

        self._pool.submit(run)

    def _final(self, entry: FileEntry) -> str:
        """Where it belongs; its folder is made."""
        parent = entry.name.rpartition("/")[0]
        folder = f"{self._dest}/{parent}" if parent else str(self._dest)
        if folder not in self._parents:
            with self._lock:
                make_folder(self._dest, Path(folder))
                self._parents.add(folder)
        return f"{self._dest}/{entry.name}"

    def _write_all(self, contents: Sequence[tuple[FileEntry, memoryview, str]]) -> None:
        for entry, content, final in contents:
            partial = self._partials.new_path()
            descriptor = os.open(partial, _NEW_FILE, 0o600)
            try:
                rest = content
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                _finish(descriptor, partial, entry)
            finally:
                os.close(descriptor)
            Path(partial).replace(final)
            self._on_done(entry)

    def _move(self, path: str, entry: FileEntry, final: str) -> None:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            _finish(descriptor, path, entry)
        finally:
            os.close(descriptor)
        Path(path).replace(final)
        self._on_done(entry)


def _finish(descriptor: int, path: str, entry: FileEntry) -> None:
    """Give an open file its mode and time, and have it on the disk."""
    mode = (entry.mode | 0o600) & 0o755
    times = (entry.mtime_ns, entry.mtime_ns)
    if sys.platform == "win32":
        os.fsync(descriptor)
        os.utime(path, ns=times)
        return
    os.fchmod(descriptor, mode)
    os.utime(descriptor, ns=times)
    os.fsync(descriptor)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(dest: Path, folder: Path) -> None:
    """Make a folder below `dest`, every step of it a real one; raises `TransferError` where a link is in the way."""
    step = dest
    for part in folder.relative_to(dest).parts:
        step /= part
        step.mkdir(exist_ok=True)
        if step.is_symlink():
            raise TransferError(
                f"{step} is a link: nothing is written through it",
                hint=f"rm {step}   (or fetch into another folder)",
            )
