"""What a tree holds: every name, size, time and sha256."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.domain import FileEntry, FileKind, Manifest
from launcher.errors import SpecError, TransferError
from launcher.sync.frames import Json
from launcher.sync.ignore import Rules
from launcher.sync.names import check_tree, leads_inside, told

THREADS = min(8, os.cpu_count() or 1)
BATCH_FILES = 32
"""Files that one task hashes: a task for each would cost more than small files do."""
MODE_MASK = 0o777


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A local tree, ready to go up."""

    root: Path
    """The folder that the names are relative to."""
    manifest: Manifest
    skipped: tuple[tuple[str, str], ...]
    """(name, why) of what is neither file, folder nor a link that stays inside; ignored files are not told."""


def scan(root: Path, *, ignore: Rules) -> Scan:
    """Look at a folder, or at a single file, and hash all of it.

    Raises `SpecError` where it does not exist or a part of it cannot be read.
    """
    skipped: list[tuple[str, str]] = []
    try:
        root = root.resolve(strict=True)
        if root.is_file():
            found, root = [_entry(root, root.parent)], root.parent
        else:
            found = list(_walk(root, root, "", ignore.inside(root, ""), skipped))
        entries = with_hashes(root, [entry for entry in found if entry is not None])
    except OSError as error:
        raise _unreadable(error, root) from None
    entries.sort(key=lambda entry: entry.name)
    return Scan(root=root, manifest=Manifest(entries=tuple(entries)), skipped=tuple(skipped))


def rescan(scanned: Scan, names: Iterable[str]) -> list[FileEntry]:
    """Look again at files that changed under our hands; those that are gone are left out.

    Raises `SpecError` where one cannot be read.
    """
    entries = []
    for name in names:
        try:
            entry = _entry(scanned.root / name, scanned.root)
            entries += with_hashes(scanned.root, [entry] if entry else [])
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _unreadable(error, scanned.root) from None
    return entries


def with_hashes(root: Path, entries: list[FileEntry]) -> list[FileEntry]:
    """The same entries, every file with its sha256; raises `OSError`."""
    files = [entry for entry in entries if entry.kind is FileKind.FILE]
    batches = [files[start : start + BATCH_FILES] for start in range(0, len(files), BATCH_FILES)]
    with ThreadPoolExecutor(THREADS) as pool:
        hashed = [entry for batch in pool.map(lambda batch: _hash_batch(root, batch), batches) for entry in batch]
    return [entry for entry in entries if entry.kind is not FileKind.FILE] + hashed


def digest(path: Path) -> str:
    """A file's sha256; raises `OSError`."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def from_json(lines: Json) -> Manifest:
    """A manifest that the agent sent, every name of it safe; raises `TransferError`."""
    try:
        entries = [_from_line(line) for line in lines]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TransferError(f"the machine sent a manifest that is none: {told(repr(error))}") from None
    check_tree(entries)
    return Manifest(entries=tuple(sorted(entries, key=lambda entry: entry.name)))


def to_json(entry: FileEntry) -> dict[str, Json]:
    """A manifest line as the agent reads it."""
    return {
        "name": entry.name,
        "kind": entry.kind.value,
        "size_bytes": entry.size_bytes,
        "mode": entry.mode,
        "mtime_ns": entry.mtime_ns,
        "sha256": entry.sha256,
        "link_target": entry.link_target,
    }


def _from_line(line: dict[str, Json]) -> FileEntry:
    kind = FileKind(line["kind"])
    sha256 = str(line["sha256"]) if kind is FileKind.FILE else ""
    if kind is FileKind.FILE and len(bytes.fromhex(sha256)) != 32:
        raise ValueError(sha256)
    size_bytes = int(line["size_bytes"])
    if size_bytes < 0:
        raise ValueError(size_bytes)
    return FileEntry(
        name=str(line["name"]),
        kind=kind,
        size_bytes=size_bytes if kind is FileKind.FILE else 0,
        mode=int(line["mode"]) & MODE_MASK,
        mtime_ns=int(line["mtime_ns"]),
        sha256=sha256,
        link_target=str(line["link_target"]) if kind is FileKind.SYMLINK else "",
    )


def _walk(root: Path, folder: Path, prefix: str, ignore: Rules, skipped: list[tuple[str, str]]) -> Iterator[FileEntry]:
    with os.scandir(folder) as found:
        items = sorted(found, key=lambda item: item.name)
    for item in items:
        name, path = prefix + item.name, Path(item.path)
        is_folder = item.is_dir(follow_symlinks=False)
        if ignore.exclude(path, name, folder=is_folder):
            continue
        entry = _entry(path, root)
        if entry is None:
            skipped.append((name, _why_not(path)))
            continue
        yield entry
        if is_folder:
            yield from _walk(root, path, f"{name}/", ignore.inside(path, f"{name}/"), skipped)


def _entry(path: Path, root: Path) -> FileEntry | None:
    """A line without its hash; `None` for what cannot go up."""
    found = path.lstat()
    entry = FileEntry(
        name=path.relative_to(root).as_posix(),
        kind=FileKind.FILE,
        size_bytes=0,
        mode=found.st_mode & MODE_MASK,
        mtime_ns=found.st_mtime_ns,
    )
    if stat.S_ISREG(found.st_mode):
        return replace(entry, size_bytes=found.st_size)
    if stat.S_ISDIR(found.st_mode):
        return replace(entry, kind=FileKind.DIRECTORY)
    if not stat.S_ISLNK(found.st_mode):
        return None
    target = _inner_target(path, root, entry.name)
    return replace(entry, kind=FileKind.SYMLINK, link_target=target) if target else None


def _inner_target(path: Path, root: Path, name: str) -> str:
    """The link's target, made relative where it leads inside some other way; empty where it leads out."""
    target = path.readlink().as_posix()
    if leads_inside(name, target):
        return target
    real = path.resolve()
    if not real.is_relative_to(root):
        return ""
    return Path(os.path.relpath(real, path.parent.resolve())).as_posix()


def _why_not(path: Path) -> str:
    if path.is_symlink():
        return f"is a link to {path.readlink()}, which leads out of the folder"
    return "is neither a file, a folder nor a link"


def _hash_batch(root: Path, batch: list[FileEntry]) -> list[FileEntry]:
    return [replace(entry, sha256=digest(root / entry.name)) for entry in batch]


def _unreadable(error: OSError, root: Path) -> SpecError:
    path = error.filename or root
    if isinstance(error, FileNotFoundError):
        return SpecError(f"{path} does not exist", hint="correct the path, or leave it out of the spec")
    return SpecError(
        f"{path} cannot be read: {error.strerror}",
        hint=f"chmod u+rX {path}   (or name it in .gpurunignore)",
    )
