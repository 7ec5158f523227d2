"""Files home: looked at there, verified here piece by piece, and in their places only when whole and on the disk."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launcher.agent.hashes import digest_of_leaves
from launcher.agent.holes import leaves_of_file
from launcher.domain import FileKind, Manifest
from launcher.errors import HostUnreachable, TransferError
from launcher.ports import Line, Lines
from launcher.sync.down.dest import Keep, writable
from launcher.sync.down.haul import Haul
from launcher.sync.down.held import Held
from launcher.sync.down.listing import Far, Listing, digest_from, listing_of, only_asked
from launcher.sync.down.partials import partial_folder
from launcher.sync.down.settle import dress_again, is_linked, make_folder, make_way
from launcher.sync.down.tally import Tally
from launcher.sync.down.trip import Trip, batches
from launcher.sync.layout import run_of
from launcher.sync.local.collisions import check_collisions, name_key
from launcher.sync.names import shown, told
from launcher.sync.telling import Note, Report, silent
from launcher.sync.wire.frames import Json
from launcher.sync.wire.session import ask, session

ATTEMPTS = 4
"""How often a file that changes is asked for."""
HASHED_FILES, HASHED_BYTES = 4096, 1 << 28
"""What is compared in one question, so that progress shows."""
REDIAL_S = 30.0
MOST_CUTS = 5
"""That a question survives."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
THREADS = min(8, os.cpu_count() or 1)


def pull(
    lines: Lines, remote_dir: str, dest: Path, report: Report, label: str, *, keep: Keep = None, note: Note = silent
) -> Manifest:
    """Bring `remote_dir` home into `dest`; what is there and right already is not sent again.

    `keep` chooses files by name; `note` is told of what was left out, and of files that changed meanwhile.
    Raises `TransferError` when the disk here is too small, when a file will not hold still, and for anything that
    the machine should not send; `RemoteError` when the line stays dead: another pull goes on with the piece that lacks.
    """
    with writable(dest):
        listing = _chosen(listing_of(_ask(lines.control, op="look", root=remote_dir)), keep)
        for name, why in listing.skipped:
            note(f"{shown(name)} was left on the machine: it {told(why)}")
        with partial_folder(dest) as partials:
            tally = Tally(report, label, listing.files)
            trip = Trip(lines=lines, remote_dir=remote_dir, dest=dest, partials=partials, tally=tally, tell=note)
            return _bring_all(trip, listing)


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
            if cuts == MOST_CUTS:
                raise


def _chosen(there: Listing, keep: Keep) -> Listing:
    if keep is None:
        return there
    chosen = (line for line in there.lines if line.kind is not FileKind.DIRECTORY and keep(line.name))
    return Listing(lines=tuple(chosen), skipped=there.skipped, state=there.state)


def _bring_all(trip: Trip, listing: Listing) -> Manifest:
    """What lacks, what changed meanwhile, then folders and links; raises as `pull`."""
    hint = f"gpurun fetch-weights {run_of(trip.remote_dir)} --to DIR   (a folder on another disk)"
    check_collisions((line.name for line in listing.lines), name_key(trip.partials.folder), trip.dest, hint)
    other = f"gpurun fetch-weights {run_of(trip.remote_dir)} --to DIR   (another folder)"
    make_way(trip.dest, (line.name for line in listing.lines if line.kind is not FileKind.DIRECTORY), other)
    files = listing.files
    _take_what_is_home(trip, files)
    missing = [far for far in files if far.name not in trip.digests]
    trip.partials.forget_others(missing)
    trip.check_room(missing)
    try:
        _bring(trip, missing, listing.state)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise trip.no_room(trip.tally.left_bytes) from None
    lines = [trip.now.get(line.name, line) for line in listing.lines if line.name not in trip.lost]
    _make_folders_and_links(trip.dest, lines)
    trip.tally.tell()
    return Manifest(entries=tuple(line.entry(trip.digests.get(line.name, b"")) for line in lines))


def _bring(trip: Trip, missing: Sequence[Far], state: str) -> None:
    """Bring these files home, those that change once more."""
    if not missing:
        return
    haul = Haul(trip)
    haul.carry(missing)
    changed = haul.changed + _changed_since(trip, [far for far in missing if far.name in trip.digests], state)
    for _ in range(ATTEMPTS - 1):
        if not changed:
            return
        for far in changed:
            trip.tell(f"{shown(far.name)} changed while it was read: once more")
        changed = Held(trip).bring(changed)
    if changed:
        raise TransferError(
            f"{shown(changed[0].name)} changes while it is read; the other files are home",
            hint=f"gpurun fetch-weights {run_of(trip.remote_dir)}   (again, when the job has paused or ended)",
        )


def _changed_since(trip: Trip, brought: Sequence[Far], state: str) -> list[Far]:
    """Those that are other files by now; what is gone by now came home while it was there."""
    if not brought:
        return []
    control, root = trip.lines.control, trip.remote_dir
    if state and _ask(control, op="look", root=root, unless=state).get("same") is True:
        return []
    now = only_asked(listing_of(_ask(control, op="look", root=root, names=[far.name for far in brought])), brought)
    return [far for far in brought if far.name in now and now[far.name].stamp != far.stamp]


def _take_what_is_home(trip: Trip, files: Sequence[Far]) -> None:
    """Find the files that are home already; where the size is the same both sides hash them."""
    with os.scandir(trip.dest) as found:
        if all(Path(item.path) == trip.partials.folder for item in found):
            return
    # Old links make way for folders: what is seen through one is not home.
    linked = {folder for folder in {_folder_of(far) for far in files} if is_linked(trip.dest, folder)}
    alike = [
        far for far in files if _has_size(f"{trip.dest}/{far.name}", far.size_bytes) and _folder_of(far) not in linked
    ]
    for batch in batches(alike, HASHED_FILES, HASHED_BYTES):
        for far, digest in _same_of(trip, batch):
            trip.digests[far.name] = digest
            dress_again(f"{trip.dest}/{far.name}", far)
            trip.tally.reused(far, far.size_bytes)
            trip.tally.file_done(far)
        trip.tally.tell()


def _folder_of(far: Far) -> str:
    return far.name.rpartition("/")[0]


def _same_of(trip: Trip, batch: Sequence[Far]) -> Iterator[tuple[Far, bytes]]:
    names = [far.name for far in batch]
    shares = [batch[start::THREADS] for start in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        hashed = pool.map(
            lambda share: [_digest_here(f"{trip.dest}/{far.name}", far.size_bytes) for far in share], shares
        )
        there = _digests_of(_ask(trip.lines.control, op="hash", root=trip.remote_dir, names=names))
        for share, digests in zip(shares, hashed, strict=True):
            for far, digest in zip(share, digests, strict=True):
                if digest is not None and there.get(far.name) == (far.size_bytes, far.mtime_ns, digest):
                    yield far, digest


def _digests_of(answer: dict[str, Json]) -> dict[str, tuple[int, int, bytes]]:
    """Size, mtime and digest by name."""
    try:
        rows = [(name, size, mtime_ns, digest_from(digest)) for name, size, mtime_ns, digest in answer["digests"]]
        return {name: (size, mtime_ns, digest) for name, size, mtime_ns, digest in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise TransferError(f"the machine sent digests that are none: {told(repr(error))}") from None


def _digest_here(path: str, size_bytes: int) -> bytes | None:
    """A file's digest; `None` where it cannot be read or is no longer of that size."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_size != size_bytes:
            return None
        return digest_of_leaves(leaves_of_file(descriptor, size_bytes))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _has_size(path: str, size_bytes: int) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes


def _make_folders_and_links(dest: Path, wanted: Sequence[Far]) -> None:
    """Links come last: while files are written, none of ours can be in the way."""
    for line in wanted:
        path = dest / line.name if line.kind is not FileKind.FILE else dest
        if line.kind is FileKind.DIRECTORY:
            make_folder(dest, path)
        elif line.kind is FileKind.SYMLINK:
            make_folder(dest, path.parent)
            if not (path.is_symlink() and str(path.readlink()) == line.link_target):
                path.unlink(missing_ok=True)
                path.symlink_to(line.link_target)
