"""A generation from S3 to this disk: every content checked before it counts, and each file there whole or not at all.

What breaks off is gone on with: a partial file keeps what of it is right, found by reading it again.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.aws.durable import place, room
from launcher.aws.durable.contents import Contents, Missing
from launcher.aws.durable.generation import Generation, Item
from launcher.aws.durable.newest import generations
from launcher.domain import FileKind, TransferProgress
from launcher.errors import TransferError

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.aws.durable.generation import Chunk

THREADS = 16
BLOCK_BYTES = 1 << 20
LABEL = "from S3"

Report = Callable[[TransferProgress], None]


def pull_newest(
    aws: Aws,
    uri: str,
    run_id: str,
    *,
    checkpoint: Path | None = None,
    output: Path | None = None,
    output_is_ours: bool = False,
    log: Path | None = None,
    report: Report | None = None,
) -> Generation | None:
    """Bring the newest generation that is whole, as `pull_into` does, and say which; `None` where none was ever sent.

    Contents of an older one may have been written over in the meantime: then there is a newer one, and it is taken.
    """
    failure: TransferError | None = None
    for _ in range(3):
        for generation in generations(aws, uri, run_id):
            try:
                pull_into(
                    aws,
                    uri,
                    generation,
                    checkpoint=checkpoint,
                    output=output,
                    output_is_ours=output_is_ours,
                    log=log,
                    report=report,
                )
            except Missing as error:
                failure = error
            else:
                return generation
    if failure is not None:
        raise failure
    return None


def pull_into(
    aws: Aws,
    uri: str,
    generation: Generation,
    *,
    checkpoint: Path | None = None,
    output: Path | None = None,
    output_is_ours: bool = False,
    log: Path | None = None,
    report: Report | None = None,
) -> None:
    """Bring a generation's checkpoint and output into two folders and its log into a file; `None`: not that one.

    The checkpoint folder then holds what the machine's did and nothing else; in the output folder what else is there
    stays, and what of it is in the way is refused, unless the folder is ours. A log that is longer than the
    generation's stays too. Raises `TransferError`: where contents are missing or wrong (`Missing`), and where this
    disk does not take them.
    """
    elsewhere = f"gpurun fetch-weights {generation.run_id} --to DIR   (another folder)"
    contents = Contents(aws, place.find(aws, uri), generation.run_id)
    progress = _Progress(generation, checkpoint is not None, output is not None, report)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            if output is not None and output_is_ours:
                room.clear(output, generation.output)
            elif output is not None:
                room.make(output, generation.output, elsewhere)
            if checkpoint is not None:
                room.clear(checkpoint, generation.checkpoint)
                _folder(pool, contents, generation.checkpoint, checkpoint, progress)
                _remove_others(checkpoint, generation.checkpoint)
            if output is not None:
                _folder(pool, contents, generation.output, output, progress)
            if log is not None and (not log.exists() or log.stat().st_size < generation.log_bytes):
                _log(pool, contents, generation, log)
    except OSError as error:
        where = error.filename or checkpoint or output or log
        raise TransferError(
            f"results cannot be written to {where}: {error.strerror}",
            hint=elsewhere,
        ) from None


class _Progress:
    """How far it is; from any thread."""

    def __init__(self, generation: Generation, checkpoint: bool, output: bool, report: Report | None) -> None:
        items = (*(generation.checkpoint if checkpoint else ()), *(generation.output if output else ()))
        self._files = sum(item.kind is FileKind.FILE for item in items)
        self._bytes = sum(item.size_bytes for item in items)
        self._done_files = self._done_bytes = self._sent = 0
        self._report = report
        self._lock = threading.Lock()

    def add(self, *, size: int = 0, sent: int = 0, files: int = 0) -> None:
        """Count bytes that are in place, bytes that came, files that are whole."""
        with self._lock:
            self._done_bytes, self._sent, self._done_files = (
                self._done_bytes + size,
                self._sent + sent,
                self._done_files + files,
            )
            if self._report:
                self._report(
                    TransferProgress(
                        label=LABEL,
                        done_bytes=min(self._done_bytes, self._bytes),
                        total_bytes=self._bytes,
                        done_files=self._done_files,
                        total_files=self._files,
                        sent_bytes=self._sent,
                        reused_bytes=self._done_bytes - self._sent,
                    )
                )


def _folder(
    pool: ThreadPoolExecutor, contents: Contents, items: tuple[Item, ...], folder: Path, progress: _Progress
) -> None:
    """Files and links; there is room for them."""
    files = [item for item in items if item.kind is FileKind.FILE]
    with _partials(folder) as partials:
        wanted = [item for item in pool.map(lambda each: _unless_there(folder, each, progress), files) if item]
        pieces = [(_partial(partials, item), chunk, offset) for item in wanted for chunk, offset in _offsets(item)]
        for _ in pool.map(lambda piece: _fetch(contents, progress, *piece), pieces):
            pass
        for _ in pool.map(lambda item: _finish(partials, folder, item, progress), wanted):
            pass
    for item in items:
        if item.kind is FileKind.SYMLINK:
            _link(folder / item.name, item.target)


@contextmanager
def _partials(folder: Path) -> Iterator[Path]:
    """Where files gather until they are whole: it stays where something breaks off."""
    partials = folder.parent / f".{folder.name}.from-s3"
    partials.mkdir(parents=True, exist_ok=True)
    yield partials
    shutil.rmtree(partials)


def _offsets(item: Item) -> Iterator[tuple[Chunk, int]]:
    offset = 0
    for chunk in item.chunks:
        yield chunk, offset
        offset += chunk.size_bytes


def _partial(partials: Path, item: Item) -> Path:
    """Of this very content: another of the same name gathers elsewhere."""
    about = "\0".join([item.name, *(chunk.sha256 for chunk in item.chunks)])
    return partials / sha256(about.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _unless_there(folder: Path, item: Item, progress: _Progress) -> Item | None:
    """The item, unless the file is in place already and right."""
    path = folder / item.name
    if path.is_symlink() or not path.is_file() or path.stat().st_size != item.size_bytes:
        return item
    if not all(_holds(path, chunk, offset) for chunk, offset in _offsets(item)):
        return item
    _dress(path, item)
    progress.add(size=item.size_bytes, files=1)
    return None


def _holds(path: Path, chunk: Chunk, offset: int) -> bool:
    """Whether a stretch of a file is that content."""
    digest, left = sha256(), chunk.size_bytes
    with path.open("rb") as file:
        file.seek(offset)
        while left and (block := file.read(min(left, BLOCK_BYTES))):
            digest.update(block)
            left -= len(block)
    return not left and digest.hexdigest() == chunk.sha256


def _fetch(contents: Contents, progress: _Progress, path: Path, chunk: Chunk, offset: int) -> None:
    """Have a content at its place in a partial file."""
    if path.exists() and path.stat().st_size >= offset + chunk.size_bytes and _holds(path, chunk, offset):
        progress.add(size=chunk.size_bytes)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        contents.fetch(chunk, lambda at, block: _write(descriptor, offset + at, block))
    finally:
        os.close(descriptor)
    progress.add(size=chunk.size_bytes, sent=chunk.size_bytes)


def _write(descriptor: int, offset: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _finish(partials: Path, folder: Path, item: Item, progress: _Progress) -> None:
    """Put a whole file in its place."""
    partial, path = _partial(partials, item), folder / item.name
    partial.touch()
    with partial.open("rb+") as file:
        file.truncate(item.size_bytes)
        os.fsync(file.fileno())
    _dress(partial, item)
    partial.replace(path)
    progress.add(files=1)


def _dress(path: Path, item: Item) -> None:
    # Its owner may write it, and nobody else, whatever the machine says.
    path.chmod((item.mode | 0o600) & 0o755)
    os.utime(path, ns=(item.mtime_ns, item.mtime_ns))


def _link(path: Path, target: str) -> None:
    if path.is_symlink() and path.readlink() == Path(target):
        return
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _remove_others(folder: Path, items: tuple[Item, ...]) -> None:
    there = {item.name for item in items}
    there |= {above.as_posix() for item in items for above in Path(item.name).parents}
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.relative_to(folder).as_posix() not in there:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _log(pool: ThreadPoolExecutor, contents: Contents, generation: Generation, path: Path) -> None:
    """The log in one step, in the place of a shorter one."""
    item = Item(
        name=path.name,
        kind=FileKind.FILE,
        size_bytes=generation.log_bytes,
        mtime_ns=int(generation.at_epoch_s * 1e9),
        mode=0o600,
        target="",
        chunks=generation.log,
    )
    silent = _Progress(generation, checkpoint=False, output=False, report=None)
    path.parent.mkdir(parents=True, exist_ok=True)
    partials = path.parent / f".{path.name}.from-s3"
    partials.mkdir(exist_ok=True)
    pieces = [(_partial(partials, item), chunk, offset) for chunk, offset in _offsets(item)]
    for _ in pool.map(lambda piece: _fetch(contents, silent, *piece), pieces):
        pass
    _finish(partials, path.parent, item, silent)
    shutil.rmtree(partials)
