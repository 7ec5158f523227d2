"""Verified contents put on the disk and into their places, many at a time."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Self

from launcher.errors import TransferError
from launcher.sync.down.listing import Far
from launcher.sync.down.partials import Partials
from launcher.sync.local.disk import flush, flush_file_system
from launcher.sync.names import leads_inside, shown

WRITERS = 4
WAITING_LIMIT = 48
"""Tasks that may wait, so that what comes in faster than the disk takes it does not fill the memory."""
FILES_PER_TASK = 16
ROUND_S = 0.5
"""How often what was written is flushed and put in place."""
FEW = 16
"""So many are flushed one by one: a flush of everything waits for other programs' data too."""
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

Content = tuple[Far, memoryview]


class _Written(NamedTuple):
    """A whole file that waits for its round."""

    far: Far
    partial: str
    final: str


class Settler:
    """Takes contents from several threads; when its block ends all of them are in place, interrupted or not."""

    def __init__(
        self, dest: Path, partials: Partials, on_done: Callable[[Far], None], on_error: Callable[[OSError], None]
    ) -> None:
        self._dest = dest
        self._partials = partials
        self._on_done = on_done
        self._on_error = on_error
        self._pool = ThreadPoolExecutor(WRITERS, thread_name_prefix="gpurun-settle")
        self._room = threading.Semaphore(WAITING_LIMIT)
        self._parents: set[str] = set()
        self._lock = threading.Lock()
        self._written: list[_Written] = []
        self._ended = threading.Event()
        self._rounds = threading.Thread(target=self._place_in_rounds, name="gpurun-place", daemon=True)

    def __enter__(self) -> Self:
        """Itself."""
        self._rounds.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Wait until everything is in place."""
        self._pool.shutdown(wait=True)
        self._ended.set()
        self._rounds.join()
        if error is None and not (len(self._parents) > FEW and flush_file_system(str(self._dest))):
            for folder in sorted(self._parents):
                flush(folder)

    def settle_small(self, contents: Sequence[Content]) -> None:
        """Have whole files written; raises `TransferError` where a link is in the way, `OSError`."""
        for start in range(0, len(contents), FILES_PER_TASK):
            some = contents[start : start + FILES_PER_TASK]
            self._submit(self._write_all, [(far, content, self._final(far)) for far, content in some])

    def settle_large(self, path: str, far: Far) -> None:
        """Have a file that gathered at `path` put where it belongs; raises as `settle_small`."""
        self._submit(self._move, _Written(far, path, self._final(far)))

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

    def _final(self, far: Far) -> str:
        """Where it belongs; its folder is made."""
        parent = far.name.rpartition("/")[0]
        folder = f"{self._dest}/{parent}" if parent else str(self._dest)
        if folder not in self._parents:
            with self._lock:
                make_folder(self._dest, Path(folder))
                self._parents.add(folder)
        return f"{self._dest}/{far.name}"

    def _write_all(self, contents: Sequence[tuple[Far, memoryview, str]]) -> None:
        for far, content, final in contents:
            partial = self._partials.new_path()
            descriptor = os.open(partial, _NEW_FILE, 0o600)
            try:
                rest = content
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                _dress(descriptor, partial, far)
            finally:
                os.close(descriptor)
            with self._lock:
                self._written.append(_Written(far, partial, final))

    def _move(self, written: _Written) -> None:
        descriptor = os.open(written.partial, os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            _dress(descriptor, written.partial, written.far)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._place([written])

    def _place_in_rounds(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(ROUND_S)
            with self._lock:
                written, self._written = self._written, []
            try:
                if not (len(written) > FEW and flush_file_system(str(self._dest))):
                    for each in written:
                        flush(each.partial)
                self._place(written)
            except OSError as error:
                self._on_error(error)

    def _place(self, written: Sequence[_Written]) -> None:
        for each in written:
            os.replace(each.partial, each.final)  # noqa: PTH105  (ten thousand Path objects for nothing)
            self._on_done(each.far)


def _dress(descriptor: int, path: str, far: Far) -> None:
    """Give an open file its mode and time."""
    times = (far.mtime_ns, far.mtime_ns)
    if sys.platform == "win32":
        os.utime(path, ns=times)
        return
    os.fchmod(descriptor, _mode(far))
    os.utime(descriptor, ns=times)


def _mode(far: Far) -> int:
    """Its mode here: its owner may write it, and nobody else."""
    return (far.mode | 0o600) & 0o755


def dress_again(path: str, far: Far) -> None:
    """Give a file that is home already its mode and time, where they are others and may be set."""
    with suppress(OSError):
        found = os.lstat(path)
        if found.st_mtime_ns == far.mtime_ns and stat.S_IMODE(found.st_mode) == _mode(far):
            return
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        try:
            _dress(descriptor, path, far)
        finally:
            os.close(descriptor)


def make_folder(dest: Path, folder: Path) -> None:
    """Make a folder below `dest`, every step of it a real one, in the place of files and links of an earlier pull.

    Raises `TransferError` where a link is in the way that cannot be one of those, since it leads out of `dest`.
    """
    step = dest
    for part in folder.relative_to(dest).parts:
        step /= part
        if step.is_symlink():
            name = step.relative_to(dest).as_posix()
            if not leads_inside(name, str(step.readlink())):
                raise TransferError(
                    f"{step} is a link: nothing is written through it",
                    hint=f"rm {step}   (or fetch into another folder)",
                )
            step.unlink()
        elif step.is_file():
            step.unlink()
        step.mkdir(exist_ok=True)


def make_way(dest: Path, names: Iterable[str], hint: str) -> None:
    """Remove empty folders where files or links are to lie; raises `TransferError` where one is not empty."""
    for name in names:
        path = f"{dest}/{name}"
        if not _is_folder(path) or is_linked(dest, name.rpartition("/")[0]):
            continue
        try:
            os.rmdir(path)  # noqa: PTH106  (paths here are text, of many files)
        except OSError:
            raise TransferError(
                f"{shown(path)} is a folder here that is not empty, and {shown(name)} on the machine is none",
                hint=hint,
            ) from None


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def is_linked(dest: Path, folder: str) -> bool:
    """Whether that folder below `dest`, or a step on the way to it, is a link."""
    path = PurePosixPath(folder)
    return any((dest / step).is_symlink() for step in (path, *path.parents) if step.parts)
