"""The laptop's folders, seen through overlays whose upper layers lie in memory (overlayfs)."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

from . import linux

FLAGS = linux.MS_NOSUID | linux.MS_NODEV


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """In what a host's folder differs from the laptop's, by relative path.

    They are made in the upper layer before it is mounted: in a user namespace nobody may write into a folder that
    the laptop's root owns.
    """

    hidden: set[str] = field(default_factory=set)
    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Content and mode."""
    folders: set[str] = field(default_factory=set)
    """Those that the host's root must be able to write into."""

    def below(self, name: str) -> Changes:
        """Those below one of the folder's entries, relative to it."""
        prefix = f"{name}/"
        return Changes(
            hidden={path.removeprefix(prefix) for path in self.hidden if path.startswith(prefix)},
            files={path.removeprefix(prefix): file for path, file in self.files.items() if path.startswith(prefix)},
            folders={path.removeprefix(prefix) for path in self.folders if path.startswith(prefix)},
        )


def show(source: Path, target: Path, layers: Path, changes: Changes) -> None:
    """Show the folder or link `source` at `target` with `changes`; nothing if there is none. Raises `OSError`."""
    if source.is_symlink():
        target.symlink_to(source.readlink())
    elif source.is_dir():
        target.mkdir(mode=0o755, exist_ok=True)
        _show_folder(source, target, layers, changes)


def _show_folder(source: Path, target: Path, layers: Path, changes: Changes) -> None:
    try:
        _overlay(source, target, layers, changes)
    except OSError as error:
        # In a user namespace the kernel gives no folder apart from what others mounted below it (WSL does so in
        # /usr/lib, containers in /etc): then its parts, one by one.
        if error.errno != errno.EINVAL:
            raise
        _show_parts(source, target, layers, changes)


def _overlay(source: Path, target: Path, layers: Path, changes: Changes) -> None:
    number = sum(1 for _ in layers.iterdir())
    lower, upper, work = (layers / f"{number}.{role}" for role in ("lower", "upper", "work"))
    lower.symlink_to(source)
    upper.mkdir(mode=0o755)
    work.mkdir()
    for path in sorted(changes.folders):
        _make_folders(source, upper, path)
    for path, (text, mode) in changes.files.items():
        _make_folders(source, upper, os.path.dirname(path))  # noqa: PTH120 - a relative text, maybe empty
        _write(upper / path, text, mode)
    for path in sorted(changes.hidden - set(changes.files)):
        _make_folders(source, upper, os.path.dirname(path))  # noqa: PTH120
        # A whiteout: the entry looks absent (kernel documentation, overlayfs).
        os.mknod(upper / path, stat.S_IFCHR | 0o600, os.makedev(0, 0))
    # Plain names, relative to the working directory: the options need no quoting whatever the paths are.
    os.chdir(layers)
    layout = f"lowerdir={lower.name},upperdir={upper.name},workdir={work.name}"
    try:
        linux.mount("overlay", str(target), "overlay", flags=FLAGS, options=f"userxattr,{layout}")
    except OSError:
        # Before Linux 5.11 there is no userxattr; root does without.
        linux.mount("overlay", str(target), "overlay", flags=FLAGS, options=layout)


def _make_folders(source: Path, upper: Path, path: str) -> None:
    """Make `path` and its parents in `upper`, each with the mode that it has below `source`."""
    for step in [*reversed(Path(path).parents), Path(path)]:
        if not (upper / step).exists():
            (upper / step).mkdir(mode=0o755)
            if (source / step).is_dir():
                (upper / step).chmod(stat.S_IMODE((source / step).stat().st_mode))


def _show_parts(source: Path, target: Path, layers: Path, changes: Changes) -> None:
    for path in changes.folders:
        (target / path).mkdir(parents=True, exist_ok=True)
    names = {entry.name for entry in source.iterdir()}
    for name in sorted(names - changes.hidden - set(changes.files)):
        part = source / name
        if part.is_symlink() or part.is_dir():
            show(part, target / name, layers, changes.below(name))
        elif part.is_file() and os.access(part, os.R_OK):
            shutil.copy(part, target / name)
    for path, (text, mode) in changes.files.items():
        if not (target / path).exists():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            _write(target / path, text, mode)


def _write(path: Path, text: str, mode: int) -> None:
    path.write_text(text)
    path.chmod(mode)
