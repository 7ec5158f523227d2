"""Files up: what the machine lacks goes through one channel, verified there before any of it is put in place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.domain import FileEntry, FileKind, Manifest, TransferProgress
from launcher.errors import RemoteError, TransferError
from launcher.ports import Connection
from launcher.sync.frames import BLOCK_BYTES, BlockWriter, Json, Wire
from launcher.sync.manifest import Scan, from_json, rescan, to_json
from launcher.sync.names import shown
from launcher.sync.session import ask, session

ATTEMPTS = 2
SPARE_BYTES = 16 << 20
"""Free disk that an upload leaves on the machine."""

Report = Callable[[TransferProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """What an upload did."""

    files: int
    """Whose content was sent."""
    size_bytes: int
    """Of those files."""
    sent_bytes: int
    """That went over the line."""
    seconds: float
    changed: tuple[str, ...] = ()
    """Names that changed while they were read, and were sent again as they are now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What must be done there so that it holds what is here."""

    place: tuple[FileEntry, ...]
    """New and changed entries, folders before what they hold."""
    send: tuple[FileEntry, ...]
    """Those of them whose content is not there yet: each content once."""
    delete: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """To send, before compression."""
        return sum(entry.size_bytes for entry in self.send)


def push(connection: Connection, scan: Scan, remote_dir: str, report: Report, label: str) -> Transferred:
    """Make `remote_dir` hold what was scanned, and remove what an earlier push had put there and is gone.

    What the machine's job wrote there itself is left alone. Raises `TransferError` when the disk there is too small,
    or when a file will not hold still; `RemoteError` on a dead line: another push goes on from what had arrived.
    """
    began = time.monotonic()
    changed: list[str] = []
    arrived: list[int] = []
    sent_bytes = 0
    with session(connection) as wire:
        for _ in range(ATTEMPTS):
            todo = _ask_difference(wire, scan.manifest, remote_dir)
            sent, bad = _send(wire, scan, todo, remote_dir, _Progress(report, label, todo))
            sent_bytes += sent
            arrived += [entry.size_bytes for entry in todo.send if entry.sha256 not in bad]
            if not bad:
                return Transferred(
                    files=len(arrived),
                    size_bytes=sum(arrived),
                    sent_bytes=sent_bytes,
                    seconds=time.monotonic() - began,
                    changed=tuple(changed),
                )
            changed = [entry.name for entry in scan.manifest.entries if entry.sha256 in bad]
            scan = _looked_again(scan, changed)
    raise TransferError(
        f"{shown(changed[0])} changes while it is read; nothing of this upload was put in place",
        hint="wait until nothing writes to it, or name it in .gpurunignore",
    )


def difference(here: Manifest, there: Manifest, staged: frozenset[str] = frozenset()) -> Difference:
    """What to place, send and delete so that `there` becomes `here`; `staged` contents lie there already."""
    old = {entry.name: entry for entry in there.entries}
    place = [entry for entry in here.entries if old.get(entry.name) != entry and not _same_folder(entry, old)]
    send = {
        entry.sha256: entry
        for entry in place
        if entry.kind is FileKind.FILE and entry.sha256 not in staged and not _same_content(entry, old)
    }
    kinds = {entry.name: entry.kind for entry in here.entries}
    delete = [entry.name for entry in there.entries if kinds.get(entry.name) is not entry.kind]
    return Difference(place=tuple(place), send=tuple(send.values()), delete=tuple(delete))


def _same_folder(entry: FileEntry, old: dict[str, FileEntry]) -> bool:
    """A folder's or link's time means nothing: it changes with every file put into it."""
    before = old.get(entry.name)
    if before is None or entry.kind is FileKind.FILE or before.kind is not entry.kind:
        return False
    if entry.kind is FileKind.SYMLINK:
        return before.link_target == entry.link_target
    return before.mode == entry.mode | 0o700


def _same_content(entry: FileEntry, old: dict[str, FileEntry]) -> bool:
    before = old.get(entry.name)
    return before is not None and before.kind is entry.kind and before.sha256 == entry.sha256


def _ask_difference(wire: Wire, here: Manifest, remote_dir: str) -> Difference:
    answer = ask(wire, op="pushed", root=remote_dir)
    staged, free_bytes = answer.get("staged"), answer.get("free_bytes")
    if not isinstance(staged, list) or not all(isinstance(name, str) for name in staged):
        raise TransferError("the machine does not say what has arrived there", hint="gpurun status")
    if not isinstance(free_bytes, int) or isinstance(free_bytes, bool):
        raise TransferError("the machine does not say how much room it has", hint="gpurun status")
    todo = difference(here, from_json(answer.get("entries")), frozenset(staged))
    if todo.size_bytes + SPARE_BYTES > free_bytes:
        raise TransferError(
            f"the machine's disk is too small: {todo.size_bytes / 1e6:.0f} MB are to go up, "
            f"{free_bytes / 1e6:.0f} MB are free",
            hint="ask for more with resources.disk in the spec, or leave files out with .gpurunignore",
        )
    return todo


def _send(wire: Wire, scan: Scan, todo: Difference, remote_dir: str, progress: _Progress) -> tuple[int, frozenset[str]]:
    """Stream the contents; gives the bytes sent and the sha256 of what did not arrive as announced."""
    wire.send_json(
        {
            "op": "receive",
            "root": remote_dir,
            "names": [entry.name for entry in scan.manifest.entries],
            "entries": [to_json(entry) for entry in todo.place],
            "contents": [[entry.sha256, entry.size_bytes] for entry in todo.send],
            "delete": todo.delete,
        }
    )
    writer = BlockWriter(wire)
    with ThreadPoolExecutor(1) as pool:
        # The machine may speak before all is sent: its disk is full, say.
        answer = pool.submit(wire.receive_json)
        try:
            for piece in _contents(scan.root, todo.send, progress):
                if answer.done():
                    break
                writer.write(piece)
            writer.flush()
            wire.send_json({"end": True})
        except RemoteError:
            _raise_better(answer)
            raise
        except BaseException:
            # The pool would wait for an answer that the machine has no reason to give.
            wire.close()
            raise
        return writer.sent_bytes, frozenset(answer.result()["bad"])


def _raise_better(answer: Future[dict[str, Json]]) -> None:
    """Why the line broke, if the machine said so before."""
    problem = answer.exception()
    if isinstance(problem, TransferError):
        raise problem from None


def _contents(root: Path, entries: Sequence[FileEntry], progress: _Progress) -> Iterator[bytes]:
    for entry in entries:
        yield from _content(root / entry.name, entry.size_bytes, progress)
        progress.file_done()


def _content(path: Path, size_bytes: int, progress: _Progress) -> Iterator[bytes]:
    """Exactly `size_bytes`: what is missing by now is filled with zeros, and shows as a wrong hash there."""
    left = size_bytes
    try:
        with path.open("rb", buffering=0) as file:
            while left and (block := file.read(min(left, BLOCK_BYTES))):
                left -= len(block)
                yield block
                progress.moved(len(block))
    except OSError:
        # Gone or closed to us since it was scanned; looking again will tell.
        pass
    while left:
        step = min(left, BLOCK_BYTES)
        yield bytes(step)
        left -= step


def _looked_again(scan: Scan, names: Sequence[str]) -> Scan:
    fresh = {entry.name: entry for entry in rescan(scan, names)}
    entries = [
        fresh.get(entry.name, entry)
        for entry in scan.manifest.entries
        if entry.name not in names or entry.name in fresh
    ]
    return replace(scan, manifest=Manifest(entries=tuple(entries)))


class _Progress:
    """Counts what moved and tells it."""

    def __init__(self, report: Report, label: str, todo: Difference) -> None:
        self._report = report
        self._now = TransferProgress(
            label=label, done_bytes=0, total_bytes=todo.size_bytes, done_files=0, total_files=len(todo.send)
        )

    def moved(self, size_bytes: int) -> None:
        """So many bytes more."""
        self._now = replace(self._now, done_bytes=self._now.done_bytes + size_bytes)
        self._report(self._now)

    def file_done(self) -> None:
        """One file more."""
        self._now = replace(self._now, done_files=self._now.done_files + 1)
        self._report(self._now)
