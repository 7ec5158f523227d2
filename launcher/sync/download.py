"""Files home: hashed there, checked here, and put in their places only when they are whole and on the disk."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from launcher.domain import FileEntry, FileKind, Manifest, TransferProgress
from launcher.errors import TransferError
from launcher.ports import Connection
from launcher.sync.frames import BLOCK_BYTES, BlockReader, Json, Wire
from launcher.sync.layout import run_of
from launcher.sync.manifest import from_json, with_hashes
from launcher.sync.names import PARTIAL_PREFIX, check_tree, shown, told
from launcher.sync.session import ask, session

ATTEMPTS = 4
SETTLERS = 8
"""Threads that put files on the disk while the next ones come in."""
STALE_S = 3600.0
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

Report = Callable[[TransferProgress], None]
Keep = Callable[[str], bool]
Note = Callable[[str], None]


def pull(
    connection: Connection,
    remote_dir: str,
    dest: Path,
    report: Report,
    label: str,
    *,
    keep: Keep | None = None,
    note: Note | None = None,
) -> Manifest:
    """Bring `remote_dir` home into `dest`; what is there and right already is not sent again.

    `keep` chooses files by name; `note` is told of what was left out, and of files that changed meanwhile.
    Raises `TransferError` when the disk here is too small, when a file will not hold still, and for anything that
    the machine should not send; `RemoteError` on a dead line: another pull goes on, file by file.
    """
    tell = note or _say_nothing
    dest.mkdir(parents=True, exist_ok=True)
    _sweep(dest)
    with session(connection) as wire:
        answer = ask(wire, op="manifest", root=remote_dir)
        for name, why in _pairs(answer.get("skipped")):
            tell(f"{shown(name)} was left on the machine: it {told(why)}")
        wanted = _chosen(from_json(answer.get("entries")), keep)
        for _ in range(ATTEMPTS):
            missing = _lacking(dest, wanted)
            _check_room(dest, missing, remote_dir)
            bad = _bring(wire, remote_dir, dest, missing, _Progress(report, label, missing))
            if not bad:
                break
            wanted = _asked_again(wire, remote_dir, wanted, bad, tell)
        else:
            raise TransferError(
                f"{shown(bad[0])} changes while it is read; the other files are home",
                hint=f"gpurun fetch-weights {run_of(remote_dir)}   (again, when the job has paused or ended)",
            )
    _make_folders_and_links(dest, wanted)
    return Manifest(entries=tuple(wanted))


def _say_nothing(message: str) -> None:
    """For callers who want no notes."""


def _pairs(skipped: Json) -> list[tuple[str, str]]:
    try:
        return [(str(name), str(why)) for name, why in skipped or []]
    except (TypeError, ValueError):
        raise TransferError("the machine sent a list of left-out files that is none") from None


def _chosen(there: Manifest, keep: Keep | None) -> list[FileEntry]:
    if keep is None:
        return list(there.entries)
    return [entry for entry in there.entries if entry.kind is not FileKind.DIRECTORY and keep(entry.name)]


def _lacking(dest: Path, wanted: Sequence[FileEntry]) -> list[FileEntry]:
    """Files that are not here, or not with this content."""
    files = [entry for entry in wanted if entry.kind is FileKind.FILE]
    same_size = [entry for entry in files if _has_size(dest / entry.name, entry.size_bytes)]
    try:
        here = {entry.name: entry.sha256 for entry in with_hashes(dest, same_size)}
    except OSError as error:
        raise _cannot_write(error, dest) from None
    return [entry for entry in files if here.get(entry.name) != entry.sha256]


def _has_size(path: Path, size_bytes: int) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes


def _check_room(dest: Path, missing: Sequence[FileEntry], remote_dir: str) -> None:
    need_bytes = sum(entry.size_bytes for entry in missing)
    if need_bytes > (free_bytes := shutil.disk_usage(dest).free):
        raise _no_room(dest, need_bytes, free_bytes, remote_dir)


def _no_room(dest: Path, need_bytes: int, free_bytes: int, remote_dir: str) -> TransferError:
    return TransferError(
        f"the disk at {dest} is too small: {need_bytes / 1e6:.1f} MB are to come home, {free_bytes / 1e6:.1f} MB are "
        "free. Nothing is lost: the results stay on the machine",
        hint=f"gpurun fetch-weights {run_of(remote_dir)} --to DIR   (a folder on a larger disk)",
    )


def _bring(wire: Wire, remote_dir: str, dest: Path, missing: Sequence[FileEntry], progress: _Progress) -> list[str]:
    """Stream the files in; gives the names of those that did not come as announced."""
    if not missing:
        return []
    wire.send_json({"op": "send", "root": remote_dir, "files": [[item.name, item.size_bytes] for item in missing]})
    reader = BlockReader(wire, sum(entry.size_bytes for entry in missing))
    try:
        with _partial_folder(dest) as partial, _Settler(dest) as settler:
            bad = [
                entry.name
                for number, entry in enumerate(missing)
                if not _bring_one(reader, entry, partial / str(number), settler, progress)
            ]
            wire.receive_json()
            return bad
    except OSError as error:
        if error.errno in NO_ROOM:
            free_bytes = shutil.disk_usage(dest).free
            raise _no_room(dest, progress.left_bytes, free_bytes, remote_dir) from None
        raise _cannot_write(error, dest) from None


def _bring_one(reader: BlockReader, entry: FileEntry, partial: Path, settler: _Settler, progress: _Progress) -> bool:
    digest = hashlib.sha256()
    left = entry.size_bytes
    with partial.open("wb", buffering=0) as file:
        while left:
            block = reader.read(min(left, BLOCK_BYTES))
            left -= len(block)
            digest.update(block)
            _write_all(file.fileno(), block)
            progress.moved(len(block))
    progress.file_done()
    if digest.hexdigest() != entry.sha256:
        partial.unlink()
        return False
    settler.settle(partial, entry)
    return True


def _write_all(descriptor: int, block: memoryview) -> None:
    while block:
        block = block[os.write(descriptor, block) :]


@contextmanager
def _partial_folder(dest: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=PARTIAL_PREFIX, dir=dest))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(dest: Path) -> None:
    """Remove what a killed download left; a living one has written to its folder lately."""
    for folder in dest.glob(PARTIAL_PREFIX + "*"):
        if time.time() - folder.stat().st_mtime > STALE_S:
            shutil.rmtree(folder, ignore_errors=True)


class _Settler:
    """Puts verified files on the disk and into their places, several at a time."""

    def __init__(self, dest: Path) -> None:
        self._dest = dest
        self._pool = ThreadPoolExecutor(SETTLERS)
        self._parents: set[Path] = set()
        self._pending: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def settle(self, partial: Path, entry: FileEntry) -> None:
        """Have the file at `partial` put where it belongs."""
        final = self._dest / entry.name
        if final.parent not in self._parents:
            make_folder(self._dest, final.parent)
            self._parents.add(final.parent)
        self._pending.append(self._pool.submit(_settle, partial, final, entry))

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            for done in self._pending:
                done.result()
            for folder in self._parents:
                _sync(folder)


def _settle(partial: Path, final: Path, entry: FileEntry) -> None:
    partial.chmod((entry.mode | 0o600) & 0o755)
    os.utime(partial, ns=(entry.mtime_ns, entry.mtime_ns))
    _sync(partial)
    partial.replace(final)


def _sync(path: Path) -> None:
    """Wait until it is on the disk; Windows opens no folders."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
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


def _make_folders_and_links(dest: Path, wanted: Sequence[FileEntry]) -> None:
    """Links come last: while files are written, none of ours can be in the way."""
    try:
        for entry in wanted:
            path = dest / entry.name
            if entry.kind is FileKind.DIRECTORY:
                make_folder(dest, path)
            elif entry.kind is FileKind.SYMLINK and not (
                path.is_symlink() and str(path.readlink()) == entry.link_target
            ):
                make_folder(dest, path.parent)
                path.unlink(missing_ok=True)
                path.symlink_to(entry.link_target)
    except OSError as error:
        raise _cannot_write(error, dest) from None


def _asked_again(
    wire: Wire, remote_dir: str, wanted: Sequence[FileEntry], bad: Sequence[str], tell: Note
) -> list[FileEntry]:
    """The same list with fresh lines for files that changed; the agent holds these open until it has sent them."""
    answer = ask(wire, op="manifest", root=remote_dir, names=bad)
    fresh = {entry.name: entry for entry in from_json(answer.get("entries")).entries}
    for name in bad:
        tell(f"{shown(name)} {'changed while it was read: once more' if name in fresh else 'is gone by now'}")
    again = [fresh.get(entry.name, entry) for entry in wanted if entry.name not in bad or entry.name in fresh]
    check_tree(again)
    return again


def _cannot_write(error: OSError, dest: Path) -> TransferError:
    return TransferError(
        f"{error.filename or dest} cannot be written: {error.strerror}",
        hint="gpurun fetch-weights RUN --to DIR   (a folder that you may write to)",
    )


class _Progress:
    """Counts what came and tells it."""

    def __init__(self, report: Report, label: str, missing: Sequence[FileEntry]) -> None:
        self._report = report
        total_bytes = sum(entry.size_bytes for entry in missing)
        self._now = TransferProgress(
            label=label, done_bytes=0, total_bytes=total_bytes, done_files=0, total_files=len(missing)
        )

    @property
    def left_bytes(self) -> int:
        """Still to come."""
        return self._now.total_bytes - self._now.done_bytes

    def moved(self, size_bytes: int) -> None:
        """So many bytes more."""
        self._now = replace(self._now, done_bytes=self._now.done_bytes + size_bytes)
        self._report(self._now)

    def file_done(self) -> None:
        """One file more."""
        self._now = replace(self._now, done_files=self._now.done_files + 1)
        self._report(self._now)
