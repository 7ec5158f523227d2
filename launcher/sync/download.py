"""Files home: looked at there, verified here piece by piece, and in their places only when whole and on the disk."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from launcher.agent.hashes import digest_of, digest_of_leaves, leaves_of
from launcher.agent.holes import leaves_of_file
from launcher.agent.parcels import NUMBER
from launcher.domain import FileEntry, FileKind, Manifest, TransferProgress
from launcher.errors import HostUnreachable, TransferError
from launcher.ports import Line, Lines
from launcher.sync.answers import CHANGED, ENTRY_BYTES, GONE, HOLE, Status, opened
from launcher.sync.collisions import check_collisions, name_key
from launcher.sync.frames import JSON_KINDS, Json, Wire, parse
from launcher.sync.lanes import Cancelled, Lanes
from launcher.sync.layout import run_of
from launcher.sync.listing import Far, Listing, digest_from, listing_of, only_asked, with_digest
from launcher.sync.names import shown, told
from launcher.sync.partials import Partial, Partials, partial_folder
from launcher.sync.session import ask, session
from launcher.sync.settle import Settler, make_folder

ATTEMPTS = 4
"""How often a file that changes is asked for."""
SMALL_BYTES = 1 << 18
"""Files up to this size come whole, many in a parcel; larger ones in pieces."""
PIECE_BYTES = 1 << 18
DENSE_PIECE_BYTES = 1 << 20
"""Of a file that compresses: the more at once, the smaller it becomes."""
BATCH_FILES = 256
HASHED_FILES, HASHED_BYTES = 4096, 1 << 28
"""What is compared in one question, so that progress shows."""
HELD_FILES = 64
"""As many as the machine keeps open at a time."""
HELD_WINDOW = 8
"""Pieces of held files that are on their way."""
REDIAL_S = 30.0
ASKED_AGAIN = 5
"""Cuts that a question survives."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
THREADS = min(8, os.cpu_count() or 1)

Report = Callable[[TransferProgress], None]
Keep = Callable[[str], bool]
Note = Callable[[str], None]


def pull(
    lines: Lines,
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
    the machine should not send; `RemoteError` when the line stays dead: another pull goes on with the piece that lacks.
    """
    tell = note or _say_nothing
    try:
        dest.mkdir(parents=True, exist_ok=True)
        listing = _chosen(_look(lines, remote_dir), keep)
        for name, why in listing.skipped:
            tell(f"{shown(name)} was left on the machine: it {told(why)}")
        with partial_folder(dest) as partials:
            return _Pull(lines, remote_dir, dest, partials, _Progress(report, label, listing.files), tell).all(listing)
    except OSError as error:
        raise _cannot_write(error, dest) from None


def _say_nothing(message: str) -> None:
    """For callers who want no notes."""


def _look(lines: Lines, remote_dir: str, names: Sequence[str] | None = None) -> Listing:
    return listing_of(_ask(lines.control, op="look", root=remote_dir, names=names))


def _ask(line: Line, **request: Json) -> dict[str, Json]:
    """One question and its answer, over as many connections as it takes."""
    cuts = 0
    while True:
        connection = line.fresh(REDIAL_S)
        try:
            with session(connection) as wire:
                return ask(wire, **request)
        except HostUnreachable:
            cuts += 1
            if cuts == ASKED_AGAIN:
                raise


def _chosen(there: Listing, keep: Keep | None) -> Listing:
    if keep is None:
        return there
    chosen = (line for line in there.lines if line.entry.kind is not FileKind.DIRECTORY and keep(line.name))
    return Listing(lines=tuple(chosen), skipped=there.skipped)


class _Pull:
    """One folder on its way home."""

    def __init__(
        self, lines: Lines, remote_dir: str, dest: Path, partials: Partials, progress: _Progress, tell: Note
    ) -> None:
        self.lines = lines
        self.remote_dir = remote_dir
        self.dest = dest
        self.partials = partials
        self.progress = progress
        self.tell = tell

    def all(self, listing: Listing) -> Manifest:
        """Everything: what lacks, what changed meanwhile, then folders and links; raises as `pull`."""
        hint = f"gpurun fetch-weights {run_of(self.remote_dir)} --to DIR   (a folder on another disk)"
        check_collisions((line.name for line in listing.lines), name_key(self.partials.folder), self.dest, hint)
        files = listing.files
        home = _Home(self.dest)
        home.digests = self._same(files)
        missing = [far for far in files if far.name not in home.digests]
        self.partials.forget_others(missing)
        self.check_room(missing)
        try:
            gone = self._bring(missing, home)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise _no_room(self.dest, self.progress.left_bytes, self.remote_dir) from None
        lines = [home.now.get(line.name, line) for line in listing.lines if line.name not in gone]
        _make_folders_and_links(self.dest, [line.entry for line in lines])
        self.progress.tell()
        empty = b""
        return Manifest(entries=tuple(with_digest(line, home.digests.get(line.name, empty)) for line in lines))

    def _bring(self, missing: Sequence[Far], home: _Home) -> set[str]:
        """Bring these files home, those that change once more; gives the names of those that are gone."""
        if not missing:
            return set()
        haul = _Haul(self, home)
        haul.carry(missing)
        changed, gone = haul.changed, haul.lost
        brought = [far for far in missing if far.name in home.digests]
        changed += self._changed_since(brought)
        for _ in range(ATTEMPTS - 1):
            if not changed:
                return gone
            for far in changed:
                self.tell(f"{shown(far.name)} changed while it was read: once more")
            changed = _Held(self, home, gone).bring(changed)
        if changed:
            raise TransferError(
                f"{shown(changed[0].name)} changes while it is read; the other files are home",
                hint=f"gpurun fetch-weights {run_of(self.remote_dir)}   (again, when the job has paused or ended)",
            )
        return gone

    def _changed_since(self, brought: Sequence[Far]) -> list[Far]:
        """Those that are other files by now; what is gone by now came home while it was there."""
        if not brought:
            return []
        now = only_asked(_look(self.lines, self.remote_dir, [far.name for far in brought]), brought)
        return [far for far in brought if far.name in now and now[far.name].stamp != far.stamp]

    def _same(self, files: Sequence[Far]) -> dict[str, bytes]:
        """The digests of files that are home already; where the size is the same both sides hash them."""
        if not any(self.dest.iterdir()):
            return {}
        alike = [far for far in files if _has_size(self.dest / far.name, far.size_bytes)]
        same: dict[str, bytes] = {}
        for batch in _batches(alike, HASHED_FILES, HASHED_BYTES):
            for far, digest in self._same_of(batch):
                same[far.name] = digest
                self.progress.reused(far, far.size_bytes)
                self.progress.file_done(far.entry)
            self.progress.tell()
        return same

    def _same_of(self, batch: Sequence[Far]) -> Iterator[tuple[Far, bytes]]:
        names = [far.name for far in batch]
        with ThreadPoolExecutor(THREADS) as pool:
            here = pool.map(lambda far: _digest_here(self.dest / far.name, far.size_bytes), batch)
            answer = _ask(self.lines.control, op="hash", root=self.remote_dir, names=names)
            there = _digests_of(answer)
            for far, digest in zip(batch, here, strict=True):
                if digest is not None and there.get(far.name) == (far.size_bytes, far.entry.mtime_ns, digest):
                    yield far, digest

    def check_room(self, missing: Sequence[Far]) -> None:
        """Refuse what cannot fit: holes take no room, but the record of what is verified does."""
        there = sum(Partial(self.partials, far).allocated_bytes for far in missing if far.size_bytes > SMALL_BYTES)
        need_bytes = sum(far.data_bytes + far.size_bytes // 512 for far in missing) - there
        if need_bytes > shutil.disk_usage(self.dest).free:
            raise _no_room(self.dest, sum(far.data_bytes for far in missing), self.remote_dir)


class _Home:
    """What has come home."""

    def __init__(self, dest: Path) -> None:
        self.dest = dest
        self.digests: dict[str, bytes] = {}
        self.now: dict[str, Far] = {}
        """The lines of files that came in another state than they were first looked at."""


class _Batch(NamedTuple):
    """Small files that come in one parcel."""

    files: Sequence[Far]

    @property
    def size_bytes(self) -> int:
        """Of the answer, about."""
        return sum(far.size_bytes + ENTRY_BYTES for far in self.files)

    def send(self, wire: Wire, number: int) -> None:
        """Ask for them."""
        wire.send_json({"n": number, "files": [[far.name, *far.stamp] for far in self.files]})


class _Piece(NamedTuple):
    """A range of a large file."""

    partial: Partial
    offset: int
    length: int

    @property
    def size_bytes(self) -> int:
        """Of the answer, about."""
        return self.length

    def send(self, wire: Wire, number: int) -> None:
        """Ask for it."""
        far = self.partial.far
        wire.send_json({"n": number, "range": [far.name, self.offset, self.length, *far.stamp]})

    def take(self, kind: bytes, payload: bytes) -> tuple[Status, bool]:
        """Verify the answer and keep it; tells what became of it, and whether the file is complete now."""
        (status,), digests, content = opened(kind, payload, [self.length], holes=True)
        if self.partial.dropped or not status.came:
            return status, False
        if status.word == HOLE:
            return status, self.partial.zero(self.offset, self.length)
        leaves = leaves_of(content)
        if digest_of_leaves(leaves) != digests[0]:
            raise _wrong_digest(self.partial.far)
        return status, self.partial.write(self.offset, content, leaves)


class _Haul:
    """Files that come over all lanes at once."""

    def __init__(self, pull: _Pull, home: _Home) -> None:
        self.changed: list[Far] = []
        self.lost: set[str] = set()
        """Names of those that are gone or cannot be read."""
        self._pull = pull
        self._home = home
        self._dense: set[str] = set()
        self._lock = threading.Lock()

    def carry(self, files: Sequence[Far]) -> None:
        """Bring them; what did not come is in `changed` or `lost`. Raises `RemoteError`, `OSError`."""
        pull, progress = self._pull, self._pull.progress
        request = {"op": "give", "root": pull.remote_dir}
        total_bytes = sum(far.data_bytes for far in files)
        self._lanes = Lanes(pull.lines, request=request, on_reply=self._on_reply, total_bytes=total_bytes)
        with Settler(pull.dest, pull.partials, progress.file_done, self._lanes.fail) as self._settler:
            producer = threading.Thread(target=self._ask_for, args=(files,), name="gpurun-ask", daemon=True)
            producer.start()
            try:
                self._lanes.run(lambda: progress.tell(self._lanes.connections))
            finally:
                producer.join()

    def _ask_for(self, files: Sequence[Far]) -> None:
        try:
            for batch in _batches([far for far in files if far.size_bytes <= SMALL_BYTES], BATCH_FILES, SMALL_BYTES):
                self._lanes.put(_Batch(batch))
            for far in files:
                if far.size_bytes > SMALL_BYTES:
                    self._ask_for_large(Partial(self._pull.partials, far))
            self._lanes.close()
        except Cancelled:
            return
        except BaseException as error:  # noqa: BLE001  (raised in the thread that waits)
            self._lanes.fail(error)

    def _ask_for_large(self, partial: Partial) -> None:
        self._pull.progress.reused(partial.far, partial.begin())
        if partial.complete:
            self._settle(partial)
            return
        for start, end in partial.missing():
            at = start
            while at < end and not partial.dropped:
                length = min(DENSE_PIECE_BYTES if partial.far.name in self._dense else PIECE_BYTES, end - at)
                self._lanes.put(_Piece(partial, at, length))
                at += length

    def _on_reply(self, work: object, kind: bytes, payload: bytes) -> None:
        """In a lane's thread."""
        self._pull.progress.received(len(payload))
        if isinstance(work, _Piece):
            self._take_piece(work, kind, payload)
        elif isinstance(work, _Batch):
            self._take_batch(work.files, kind, payload)

    def _take_piece(self, piece: _Piece, kind: bytes, payload: bytes) -> None:
        status, complete = piece.take(kind, payload)
        partial = piece.partial
        if kind != b"P":
            self._dense.add(partial.far.name)
        if status.came:
            self._pull.progress.moved(partial.far, piece.length)
            if complete:
                self._settle(partial)
            return
        with self._lock:
            first = not partial.dropped
            partial.dropped = True
        if first:
            self._did_not_come(partial.far, status)

    def _settle(self, partial: Partial) -> None:
        digest = partial.digest()
        self._home.digests[partial.far.name] = digest
        self._settler.settle_large(partial.take(), partial.far.entry)

    def _take_batch(self, files: Sequence[Far], kind: bytes, payload: bytes) -> None:
        statuses, digests, contents = opened(kind, payload, [far.size_bytes for far in files])
        whole = []
        at = number = 0
        for far, status in zip(files, statuses, strict=True):
            if not status.came:
                self._did_not_come(far, status)
                continue
            content = contents[at : at + far.size_bytes]
            if digest_of(content) != digests[number]:
                raise _wrong_digest(far)
            self._home.digests[far.name] = digests[number]
            whole.append((far.entry, content))
            at, number = at + far.size_bytes, number + 1
        self._settler.settle_small(whole)

    def _did_not_come(self, far: Far, status: Status) -> None:
        if status.word == CHANGED:
            self.changed.append(far)
            return
        with self._lock:
            self.lost.add(far.name)
        self._pull.tell(_why_lost(far, status))
        self._pull.progress.forget(far, None)


class _Held:
    """Files that change while they are read: the machine opens them, and they come as they were then."""

    def __init__(self, pull: _Pull, home: _Home, gone: set[str]) -> None:
        self._pull = pull
        self._home = home
        self._gone = gone

    def bring(self, files: Sequence[Far]) -> list[Far]:
        """Bring them home; gives those that changed even so. Raises `RemoteError`, `OSError`."""
        still: list[Far] = []
        for batch in _batches(files, HELD_FILES, 1 << 62):
            still += self._bring_batch(batch)
        return still

    def _bring_batch(self, files: Sequence[Far]) -> list[Far]:
        cuts = 0
        while True:
            connection = self._pull.lines.bulk(0).fresh(REDIAL_S)
            try:
                with session(connection) as wire:
                    wire.send_json({"op": "give", "root": self._pull.remote_dir})
                    still = self._bring_over(wire, files)
                    wire.send_json({"end": True})
                    wire.receive_json()
                    return still
            except HostUnreachable:
                cuts += 1
                if cuts == ASKED_AGAIN:
                    raise

    def _bring_over(self, wire: Wire, files: Sequence[Far]) -> list[Far]:
        """Over one connection, since the files are held by the process at its end."""
        wire.send_json({"n": 1, "hold": [far.name for far in files]})
        answer = _numbered(wire, 1)
        listing, digests = listing_of(answer), _held_digests(answer)
        now = only_asked(listing, files)
        here = [self._still_there(far, now.get(far.name), dict(listing.skipped)) for far in files]
        partials = [Partial(self._pull.partials, far) for far in here if far and not self._is_home(far, digests)]
        self._pull.check_room([partial.far for partial in partials])
        try:
            self._fill(wire, partials)
            return [partial.far for partial in self._settled(partials, digests)]
        finally:
            for partial in partials:
                partial.close()

    def _still_there(self, far: Far, now: Far | None, skipped: dict[str, str]) -> Far | None:
        if now is None and far.name not in self._home.digests:
            self._pull.tell(_why_lost(far, Status(GONE, skipped.get(far.name, ""))))
            self._pull.progress.forget(far, None)
            self._gone.add(far.name)
        return now

    def _is_home(self, far: Far, digests: dict[str, bytes]) -> bool:
        """Whether it came already, and only its time is another."""
        if self._home.digests.get(far.name) != digests[far.name]:
            self._pull.progress.forget(far, far.size_bytes)
            return False
        return True

    def _fill(self, wire: Wire, partials: Sequence[Partial]) -> None:
        waiting: deque[tuple[int, _Piece]] = deque()
        for number, piece in enumerate(self._pieces(partials), start=2):
            piece.send(wire, number)
            waiting.append((number, piece))
            if len(waiting) == HELD_WINDOW:
                self._take(wire, *waiting.popleft())
        while waiting:
            self._take(wire, *waiting.popleft())

    def _pieces(self, partials: Sequence[Partial]) -> Iterator[_Piece]:
        for partial in partials:
            self._pull.progress.reused(partial.far, partial.begin())
            for start, end in partial.missing():
                for at in range(start, end, PIECE_BYTES):
                    yield _Piece(partial, at, min(PIECE_BYTES, end - at))

    def _take(self, wire: Wire, number: int, piece: _Piece) -> None:
        kind, payload = wire.receive()
        self._pull.progress.received(len(payload))
        status, _ = piece.take(kind, _without_number(kind, payload, number))
        if status.came:
            self._pull.progress.moved(piece.partial.far, piece.length)
        self._pull.progress.tell(1)

    def _settled(self, partials: Sequence[Partial], digests: dict[str, bytes]) -> Iterator[Partial]:
        """Put those in place that are whole as the machine hashed them; gives the others."""
        errors: list[OSError] = []
        with Settler(self._pull.dest, self._pull.partials, self._pull.progress.file_done, errors.append) as settler:
            for partial in partials:
                name = partial.far.name
                if not partial.complete or partial.digest() != digests[name]:
                    partial.drop()
                    yield partial
                    continue
                self._home.digests[name] = digests[name]
                self._home.now[name] = partial.far
                settler.settle_large(partial.take(), partial.far.entry)
        if errors:
            raise errors[0]


def _numbered(wire: Wire, number: int) -> dict[str, Json]:
    """A question's answer within a stream of work."""
    kind, payload = wire.receive()
    text = _without_number(kind, payload, number)
    if kind != b"A":
        raise TransferError(f"the machine sent a frame of kind {kind!r} where an answer was due")
    return parse(b"J", text)


def _without_number(kind: bytes, payload: bytes, number: int) -> bytes:
    if kind in JSON_KINDS:
        parse(kind, payload)
    if payload[: NUMBER.size] != NUMBER.pack(number):
        raise TransferError("the machine answered what it was not asked")
    return payload[NUMBER.size :]


def _held_digests(answer: dict[str, Json]) -> dict[str, bytes]:
    digests = answer.get("digests")
    if not isinstance(digests, dict):
        raise TransferError("the machine sent digests that are none")
    found = {name: digest_from(text) for name, text in digests.items()}
    if any(line[0] not in found for line in answer["entries"]):
        raise TransferError("the machine sent a file without its digest")
    return found


def _digests_of(answer: dict[str, Json]) -> dict[str, tuple[int, int, bytes]]:
    """Size, mtime and digest by name."""
    try:
        rows = [(name, size, mtime_ns, digest_from(digest)) for name, size, mtime_ns, digest in answer["digests"]]
        return {name: (size, mtime_ns, digest) for name, size, mtime_ns, digest in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise TransferError(f"the machine sent digests that are none: {told(repr(error))}") from None


def _digest_here(path: Path, size_bytes: int) -> bytes | None:
    """A file's digest; `None` where it cannot be read or is no longer of that size."""
    try:
        with path.open("rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size != size_bytes:
                return None
            return digest_of_leaves(leaves_of_file(file.fileno(), size_bytes))
    except OSError:
        return None


def _batches(files: Sequence[Far], most_files: int, most_bytes: int) -> Iterator[list[Far]]:
    """Runs of them, each within both limits unless one file alone is beyond."""
    batch: list[Far] = []
    batch_bytes = 0
    for far in files:
        if batch and (len(batch) == most_files or batch_bytes + far.size_bytes > most_bytes):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(far)
        batch_bytes += far.size_bytes
    if batch:
        yield batch


def _has_size(path: Path, size_bytes: int) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes


def _make_folders_and_links(dest: Path, wanted: Sequence[FileEntry]) -> None:
    """Links come last: while files are written, none of ours can be in the way."""
    for entry in wanted:
        path = dest / entry.name
        if entry.kind is FileKind.DIRECTORY:
            make_folder(dest, path)
        elif entry.kind is FileKind.SYMLINK and not (path.is_symlink() and str(path.readlink()) == entry.link_target):
            make_folder(dest, path.parent)
            path.unlink(missing_ok=True)
            path.symlink_to(entry.link_target)


def _no_room(dest: Path, need_bytes: int, remote_dir: str) -> TransferError:
    free_bytes = shutil.disk_usage(dest).free
    return TransferError(
        f"the disk at {dest} is too small: {need_bytes / 1e6:.1f} MB are to come home, {free_bytes / 1e6:.1f} MB are "
        "free. Nothing is lost: the results stay on the machine",
        hint=f"gpurun fetch-weights {run_of(remote_dir)} --to DIR   (a folder on a larger disk)",
    )


def _cannot_write(error: OSError, dest: Path) -> TransferError:
    return TransferError(
        f"{error.filename or dest} cannot be written: {error.strerror}",
        hint="gpurun fetch-weights RUN --to DIR   (a folder that you may write to)",
    )


def _wrong_digest(far: Far) -> TransferError:
    return TransferError(
        f"{shown(far.name)} came with another content than its digest says; it was not kept",
        hint="once more; if it happens again, gpurun doctor",
    )


def _why_lost(far: Far, status: Status) -> str:
    if status.why:
        return f"{shown(far.name)} was left on the machine: it cannot be read: {told(status.why)}"
    return f"{shown(far.name)} is gone by now"


class _Progress:
    """Counts what is home; told in the thread that waits."""

    def __init__(self, report: Report, label: str, files: Sequence[Far]) -> None:
        self._report = report
        self._label = label
        self._sizes = {far.name: far.size_bytes for far in files}
        self._total_bytes = sum(self._sizes.values())
        self._total_files = len(files)
        self._done_bytes = self._reused_bytes = self._received_bytes = 0
        self._connections = 0
        self._here: dict[str, int] = {}
        self._done: set[str] = set()
        self._lock = threading.Lock()

    @property
    def left_bytes(self) -> int:
        """Still to come."""
        return self._total_bytes - self._done_bytes

    def moved(self, far: Far, size_bytes: int) -> None:
        """So many bytes more of that file."""
        with self._lock:
            self._count(far.name, size_bytes)

    def reused(self, far: Far, size_bytes: int) -> None:
        """So many bytes of it were here."""
        with self._lock:
            self._count(far.name, size_bytes)
            self._reused_bytes += size_bytes

    def received(self, size_bytes: int) -> None:
        """So much came over the line."""
        with self._lock:
            self._received_bytes += size_bytes

    def file_done(self, entry: FileEntry) -> None:
        """One file is in its place, whole."""
        with self._lock:
            self._count(entry.name, entry.size_bytes - self._here.get(entry.name, 0))
            self._done.add(entry.name)

    def forget(self, far: Far, size_bytes: int | None) -> None:
        """It begins anew, with that size; `None`: it does not come."""
        with self._lock:
            self._done_bytes -= self._here.pop(far.name, 0)
            self._done.discard(far.name)
            before = self._sizes.pop(far.name, 0)
            self._total_bytes += (size_bytes or 0) - before
            if size_bytes is None:
                self._total_files -= 1
            else:
                self._sizes[far.name] = size_bytes

    def _count(self, name: str, size_bytes: int) -> None:
        self._here[name] = self._here.get(name, 0) + size_bytes
        self._done_bytes += size_bytes

    def tell(self, connections: int = 0) -> None:
        """Report how far it is."""
        self._connections = connections or self._connections
        with self._lock:
            now = TransferProgress(
                label=self._label,
                done_bytes=self._done_bytes,
                total_bytes=self._total_bytes,
                done_files=len(self._done),
                total_files=self._total_files,
                sent_bytes=self._received_bytes,
                reused_bytes=self._reused_bytes,
                connections=self._connections,
            )
        self._report(now)
