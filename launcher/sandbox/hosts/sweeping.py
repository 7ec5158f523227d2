"""Removes what hosts left: folders whatever their modes, and all of a daemon that was killed."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from launcher.sandbox.hosts.guest.marked import kill_marked


def sweep(state: Path) -> None:
    """End and remove all hosts and disks that a daemon with this state folder left; harmless while none are left."""
    kill_marked(lambda mark: mark.startswith(f"{state}{os.sep}"))
    for place in (state / "hosts", state / "snapshots"):
        if place.exists():
            for folder in place.iterdir():
                remove_folder(folder)
            place.rmdir()


def remove_folder(folder: Path) -> None:
    """Remove a host's folder, whatever modes its guest gave to what lies in it."""
    if not folder.exists():
        return
    _open_up(folder)
    for place, folders, _ in os.walk(folder):
        for name in folders:
            _open_up(Path(place, name))
    shutil.rmtree(folder)


def _open_up(folder: Path) -> None:
    mode = folder.lstat().st_mode
    if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
        folder.chmod(0o700)
