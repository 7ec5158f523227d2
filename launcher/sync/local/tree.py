"""What a local folder holds that is to go up: names, sizes, times and modes; nothing is read but folders."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from launcher.errors import SpecError
from launcher.sync.local.ignore import ENVIRONMENT_MARKS, Judge, Rules
from launcher.sync.names import leads_inside, shown

PERMISSION_BITS = 0o777
_VANISHED = (FileNotFoundError, NotADirectoryError)
_SPECIAL = {
    stat.S_IFIFO: "is a named pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFBLK: "is a device",
    stat.S_IFCHR: "is a device",
}


class Item(NamedTuple):
    """One file, folder or link of a tree; a tuple, since there may be a hundred thousand of them."""

    name: str
    """Relative, with `/` between its parts, surrogate-escaped where it is not UTF-8."""
    kind: str
    """`f` file, `d` folder, `l` symbolic link."""
    size_bytes: int
    """Of a file; 0 for what is none."""
    mtime_ns: int
    """Of a file; 0 for folders, whose time changes with every file put into them, and for links."""
    mode: int
    """The permission bits; a folder's always let its owner in, a link has none."""
    link_target: str
    inode: tuple[int, int] | None
    """(device, inode number) of a file: two names of one inode are one content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A local tree, ready to go up."""

    root: Path
    """The folder that the names are relative to."""
    items: tuple[Item, ...]
    """Folders before what they hold."""
    skipped: tuple[tuple[str, str], ...]
    """(name, why) of what is neither file, folder nor a link that stays inside; ignored files are not told."""

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(item.size_bytes for item in self.items)


def scan(root: Path, *, ignore: Rules) -> Scan:
    """Look at a folder, or at a single file; nothing is read but folders and their ignore files.

    Raises `SpecError` where it does not exist or a part of it cannot be read.
    """
    try:
        top = os.path.realpath(root, strict=True)
        if Path(top).is_file():
            return _single(top)
        walk = _Walk(top)
        walk.below(_Folder(top, "", ignore))
    except OSError as error:
        raise _unreadable(error, root) from None
    items = walk.items + _needed(walk.closed, walk.items)
    items.sort(key=itemgetter(0))
    return Scan(root=Path(top), items=tuple(items), skipped=tuple(sorted(walk.skipped)))


class _Folder(NamedTuple):
    """A folder to look into."""

    path: str
    prefix: str
    """What the names in it begin with: empty at the top, with a `/` behind it below."""
    rules: Rules
    """Those of the folder above."""
    item: Item | None = None
    """Its own; the top has none."""
    even_an_environment: bool = False
    """Whether it goes up though it holds a virtual environment."""


class _Walk:
    """What is found on the way through a tree; no recursion, since a tree may be deeper than Python's stack."""

    def __init__(self, top: str) -> None:
        self.top = top
        self.items: list[Item] = []
        self.closed: list[Item] = []
        """Folders that are out, and come along where something in them is brought back."""
        self.skipped: list[tuple[str, str]] = []
        self._user_id = os.geteuid() if hasattr(os, "geteuid") else -1

    def below(self, top: _Folder) -> None:
        """Look into a folder and all below it; raises `OSError` and `SpecError`."""
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(folder.path) as found:
                    entries = {entry.name: entry for entry in found}
            except _VANISHED:
                if folder.item is None:
                    raise
                continue
            if folder.item is not None:
                if not folder.even_an_environment and any(mark in entries for mark in ENVIRONMENT_MARKS):
                    continue
                (self.closed if folder.rules.closed else self.items).append(folder.item)
            rules = folder.rules.enter(folder.path, folder.prefix, entries)
            waiting += self._take(Judge(rules, folder.path, folder.prefix), folder.prefix, entries.values())

    def _take(self, judge: Judge, prefix: str, entries: Iterable[os.DirEntry[str]]) -> list[_Folder]:
        """Take in what one folder holds; returns the folders in it."""
        folders = []
        excludes = judge.excludes
        for entry in entries:
            base = entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            out = excludes(base, folder=is_folder)
            if out and not (is_folder and judge.reopens(base)):
                continue
            try:
                found = entry.stat(follow_symlinks=False)
                if is_folder:
                    folders.append(_folder(entry.path, prefix + base, found.st_mode, judge, closed=out))
                elif stat.S_ISREG(found.st_mode):
                    self._take_file(entry.path, prefix + base, found)
                else:
                    self._take_other(entry.path, prefix + base, found.st_mode)
            except _VANISHED:
                continue
        return folders

    def _take_file(self, path: str, name: str, found: os.stat_result) -> None:
        mode = found.st_mode
        if mode & 0o444 != 0o444 and not (mode & 0o400 and found.st_uid == self._user_id):
            _require_readable(path)
        self.items.append(_file(name, found))

    def _take_other(self, path: str, name: str, mode: int) -> None:
        if not stat.S_ISLNK(mode):
            self.skipped.append((name, _SPECIAL.get(stat.S_IFMT(mode), "is neither a file, a folder nor a link")))
            return
        target = _inner_target(path, self.top, name)
        if target:
            self.items.append(Item(name, "l", 0, 0, 0, target, None))
        else:
            leads = shown(str(Path(path).readlink()))
            self.skipped.append((name, f"is a link to {leads}, which leads out of the folder"))


def _single(path: str) -> Scan:
    folder, name = os.path.split(path)
    _require_readable(path)
    return Scan(root=Path(folder), items=(_file(name, Path(path).stat()),), skipped=())


def _file(name: str, found: os.stat_result) -> Item:
    # Where there are no inode numbers, 0 would make one content of all files.
    inode = (found.st_dev, found.st_ino) if found.st_ino else None
    mode = found.st_mode & PERMISSION_BITS
    # Not `Item(...)`, which takes twice as long, for as many files as there are.
    return tuple.__new__(Item, (name, "f", found.st_size, found.st_mtime_ns, mode, "", inode))


def _folder(path: str, name: str, mode: int, judge: Judge, *, closed: bool) -> _Folder:
    rules = judge.rules if judge.rules.closed == closed else replace(judge.rules, closed=closed)
    item = Item(name, "d", 0, 0, mode & PERMISSION_BITS | 0o700, "", None)
    even = judge.rules.everything or judge.brings_back(name.rpartition("/")[2])
    return _Folder(path, f"{name}/", rules, item, even_an_environment=even)


def _needed(closed: list[Item], items: list[Item]) -> list[Item]:
    """Of the folders that are out, those that something lies in."""
    needed, kept = ({item.name.rpartition("/")[0] for item in items} if closed else set()), []
    for folder in sorted(closed, reverse=True):
        if folder.name in needed:
            kept.append(folder)
            needed.add(folder.name.rpartition("/")[0])
    return kept


def _inner_target(path: str, top: str, name: str) -> str:
    """The link's target, made relative where it leads inside some other way; empty where it leads out."""
    target = Path(path).readlink().as_posix()
    if leads_inside(name, target):
        return target
    real = os.path.realpath(path)
    if real != top and not real.startswith(top.rstrip(os.sep) + os.sep):
        return ""
    return Path(os.path.relpath(real, Path(path).parent)).as_posix()


def _require_readable(path: str) -> None:
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _unreadable(error: OSError, root: Path) -> SpecError:
    path = shown(os.fspath(error.filename or root))
    if isinstance(error, FileNotFoundError):
        return SpecError(f"{path} does not exist", hint="correct the path, or leave it out of the spec")
    cure = f"chmod u+rX {path}   (or name it in .gpurunignore)"
    if not isinstance(error, PermissionError):
        cure = "correct the path, or name it in .gpurunignore"
    return SpecError(f"{path} cannot be read: {error.strerror}", hint=cure)
