"""Files home from a machine without python3: read by SFTP, compared with what the machine's sha256sum says of them."""

from __future__ import annotations

import hashlib
import shutil
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher.agent.hashes import LEAF_BYTES, digest_of, digest_of_leaves, leaves_of
from launcher.domain import FileEntry, FileKind, Manifest
from launcher.errors import TransferError
from launcher.ports import Lines
from launcher.sync.down.dest import Keep, writable
from launcher.sync.down.listing import KINDS, MODE_MASK, Far
from launcher.sync.down.partials import Partial, Partials, partial_folder
from launcher.sync.down.settle import Settler, make_folder
from launcher.sync.layout import run_of
from launcher.sync.local.collisions import check_collisions, name_key
from launcher.sync.names import check_tree, leads_inside, shown
from launcher.sync.sftp.client import CHUNK_BYTES, Attributes, Pending, Refusal
from launcher.sync.sftp.fallback import (
    AHEAD,
    NO_SUMS,
    Counter,
    FarSide,
    Tree,
    at,
    decoded,
    far_side,
    refused,
)
from launcher.sync.telling import Note, Report, silent

ATTEMPTS = 4
"""How often a file that changes is read."""
SMALL_BYTES = 1 << 20
"""Larger files gather on the disk, and the next pull goes on with what they lack."""


def pull(
    lines: Lines, remote_dir: str, dest: Path, report: Report, label: str, *, keep: Keep = None, note: Note = silent
) -> Manifest:
    """Bring `remote_dir` home into `dest`, as `download.pull` does, with what SFTP alone can do.

    Times are whole seconds; where the machine has no sha256sum, which `note` is told, sizes and times are all that is
    compared. Raises as `download.pull` does, and `RemoteError` where the machine has no SFTP either.
    """
    counter = Counter(report, label)
    with writable(dest), partial_folder(dest) as partials, far_side(lines, counter.tell) as far:
        if not far.sums.there:
            note(NO_SUMS)
        manifest = _Download(far, remote_dir, dest, partials, counter, note).run(keep)
    counter.tell()
    return manifest


class _Download:
    """One folder on its way home."""

    def __init__(
        self, far: FarSide, remote_dir: str, dest: Path, partials: Partials, counter: Counter, tell: Note
    ) -> None:
        self._far = far
        self._client = far.client
        self._remote_dir = remote_dir
        self._root = far.path(remote_dir)
        self._dest = dest
        self._partials = partials
        self._counter = counter
        self._tell = tell

    def run(self, keep: Keep) -> Manifest:
        """All of it."""
        lines = self._look(keep)
        hint = f"gpurun fetch-weights {run_of(self._remote_dir)} --to DIR   (a folder on another disk)"
        check_collisions((far.name for far in lines), name_key(self._partials.folder), self._dest, hint)
        files = [far for far in lines if far.kind is FileKind.FILE]
        others = [far for far in lines if far.kind is not FileKind.FILE]
        sums = self._far.sums.of(self._remote_dir, {far.name: far.size_bytes for far in files}) if self._sums else {}
        self._counter.begin(sum(far.size_bytes for far in files), len(files))
        self._partials.forget_others(files)
        self._check_room(files)
        errors: list[OSError] = []
        with Settler(self._dest, self._partials, silent, errors.append) as settler:
            came = self._far.errands.each(lambda far: self._bring(far, sums.get(far.name, ""), settler), files)
        if errors:
            raise errors[0]
        self._make(others)
        entries = [*filter(None, came), *(far.entry(b"") for far in others)]
        return Manifest(entries=tuple(sorted(entries, key=lambda entry: entry.name)))

    @property
    def _sums(self) -> bool:
        return self._far.sums.there

    # What lies there.

    def _look(self, keep: Keep) -> list[Far]:
        """Names that are safe one by one and together."""
        tree = self._far.walk(self._root) or Tree({}, [])
        for name, why in tree.skipped:
            self._tell(f"{shown(name)} was left on the machine: it {why}")
        links = [name for name, found in tree.entries.items() if found.kind == "l"]
        targets = dict(zip(links, self._far.errands.each(self._target, links), strict=True))
        lines = []
        for name, found in tree.entries.items():
            why = _why_not(name, found, targets)
            if why:
                self._tell(f"{shown(name)} was left on the machine: it {why}")
            elif keep is None or (found.kind != "d" and keep(name)):
                lines.append(_line(name, found, targets.get(name, "")))
        check_tree(lines, fold_case=False)
        return sorted(lines)

    def _target(self, name: str) -> str:
        return decoded(self._client.read_link(at(self._root, name)))

    def _check_room(self, files: Sequence[Far]) -> None:
        need_bytes = sum(far.size_bytes for far in files if _size_here(self._dest / far.name) != far.size_bytes)
        free_bytes = shutil.disk_usage(self._dest).free
        if need_bytes > free_bytes:
            raise TransferError(
                f"the disk at {self._dest} is too small: {need_bytes / 1e6:.1f} MB are to come home, "
                f"{free_bytes / 1e6:.1f} MB are free. Nothing is lost: the results stay on the machine",
                hint=f"gpurun fetch-weights {run_of(self._remote_dir)} --to DIR   (a folder on a larger disk)",
            )

    # Contents.

    def _bring(self, far: Far, sha256: str, settler: Settler) -> FileEntry | None:
        """One file, as it is when it holds still; `None` where it is gone."""
        for _ in range(ATTEMPTS):
            digest = self._digest_home(far, sha256)
            if digest is not None:
                self._counter.reused(far.size_bytes)
                return far.entry(digest)
            digest = self._bring_once(far, sha256, settler)
            if digest is not None:
                self._counter.whole(far.size_bytes)
                return far.entry(digest)
            now = self._client.look(at(self._root, far.name))
            if now is None or now.kind != "f":
                self._tell(f"{shown(far.name)} is gone by now")
                return None
            far = _line(far.name, now, "")
            sha256 = self._far.sums.of(self._remote_dir, {far.name: far.size_bytes}).get(far.name, "")
        raise TransferError(
            f"{shown(far.name)} changes while it is read, or does not arrive as it was sent",
            hint=f"gpurun fetch-weights {run_of(self._remote_dir)}   (again, when the job has paused or ended)",
        )

    def _digest_home(self, far: Far, sha256: str) -> bytes | None:
        """Its digest where it is home already."""
        path = self._dest / far.name
        if _size_here(path) != far.size_bytes:
            return None
        if sha256:
            with path.open("rb") as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        else:
            same = not self._sums and path.lstat().st_mtime_ns == far.mtime_ns
        return _digest_of_file(path) if same else None

    def _bring_once(self, far: Far, sha256: str, settler: Settler) -> bytes | None:
        """Read a file and have it put in its place; gives its digest, `None` where it has changed meanwhile."""
        try:
            handle = self._client.open_to_read(at(self._root, far.name))
        except Refusal as refusal:
            if self._client.look(at(self._root, far.name)) is None:
                return None
            raise refused(f"to read {shown(far.name)}", refusal) from None
        if far.size_bytes <= SMALL_BYTES:
            content = b"".join(self._pieces(handle, 0, far.size_bytes))
            if not self._right(far, handle, sha256, [content]):
                return None
            settler.settle_small([(far, memoryview(content))])
            return digest_of(content)
        return self._bring_large(far, handle, sha256, settler)

    def _bring_large(self, far: Far, handle: bytes, sha256: str, settler: Settler) -> bytes | None:
        partial = Partial(self._partials, far)
        try:
            self._counter.reused(partial.begin(), files=0)
            for start, end in partial.missing():
                self._fill(partial, handle, start, end)
            if not partial.complete or not self._right(far, handle, sha256, _blocks(Path(partial.path))):
                partial.drop()
                return None
            digest = partial.digest()
            settler.settle_large(partial.take(), far)
        finally:
            partial.close()
        return digest

    def _fill(self, partial: Partial, handle: bytes, start: int, end: int) -> None:
        """Bring a range, leaf by leaf."""
        gathered = bytearray()
        for piece in self._pieces(handle, start, end):
            gathered += piece
            while len(gathered) >= LEAF_BYTES or (gathered and start + len(gathered) == end):
                leaf = bytes(gathered[:LEAF_BYTES])
                del gathered[: len(leaf)]
                partial.write(start, memoryview(leaf), leaves_of(leaf))
                start += len(leaf)

    def _pieces(self, handle: bytes, start: int, end: int) -> Iterator[bytes]:
        """A range of an open file; ends early where the file does."""
        waiting: deque[tuple[int, int, Pending]] = deque()
        while start < end or waiting:
            while start < end and len(waiting) < AHEAD:
                size = min(CHUNK_BYTES, end - start)
                waiting.append((start, size, self._client.read(handle, start, size)))
                start += size
            offset, size, pending = waiting.popleft()
            data = self._client.data_of(pending, size)
            while data:
                self._counter.moved(len(data))
                yield data
                offset, size = offset + len(data), size - len(data)
                if not size:
                    break
                data = self._client.data_of(self._client.read(handle, offset, size), size)
            else:
                return

    def _right(self, far: Far, handle: bytes, sha256: str, blocks: Iterator[bytes] | list[bytes]) -> bool:
        """Whether what was read is the file as it was looked at, all of it."""
        now = self._client.look_at(handle)
        self._client.done(self._client.close(handle))
        digest = hashlib.sha256()
        size_bytes = 0
        for block in blocks:
            digest.update(block)
            size_bytes += len(block)
        same = (now.size_bytes, now.mtime_s * 1_000_000_000) == (size_bytes, far.mtime_ns)
        return same and size_bytes == far.size_bytes and (not self._sums or digest.hexdigest() == sha256)

    # Folders and links.

    def _make(self, lines: Sequence[Far]) -> None:
        """Links come last: while files are written, none of ours can be in the way."""
        for line in sorted(lines, key=lambda line: line.kind is FileKind.SYMLINK):
            path = self._dest / line.name
            if line.kind is FileKind.DIRECTORY:
                make_folder(self._dest, path)
            elif not (path.is_symlink() and str(path.readlink()) == line.link_target):
                make_folder(self._dest, path.parent)
                path.unlink(missing_ok=True)
                path.symlink_to(line.link_target)


def _why_not(name: str, found: Attributes, targets: dict[str, str]) -> str:
    if found.kind == "?":
        return "is neither a file, a folder nor a link"
    return "is a link that leads out" if found.kind == "l" and not leads_inside(name, targets[name]) else ""


def _line(name: str, found: Attributes, target: str) -> Far:
    is_file = found.kind == "f"
    return Far(
        name=name,
        kind=KINDS[found.kind],
        size_bytes=found.size_bytes if is_file else 0,
        mtime_ns=found.mtime_s * 1_000_000_000,
        mode=found.mode & MODE_MASK,
        link_target=target,
        inode=0,
        data=None,
    )


def _size_here(path: Path) -> int:
    """A file's size; -1 where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(SMALL_BYTES):
            yield block


def _digest_of_file(path: Path) -> bytes:
    leaves = b"".join(leaves_of(block) for block in _blocks(path))
    return digest_of_leaves(leaves) if leaves else digest_of(b"")
