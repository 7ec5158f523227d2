"""Ends what a dead daemon's hosts left: processes by their mark, then folders."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

import psutil

MARK = "GPURUN_SANDBOX_HOST"
"""Environment variable of every process of a host; its value begins with the state folder."""

SWEEP_WAIT_S = 10.0


def kill_marked(belongs: Callable[[str], bool]) -> None:
    """Kill every process whose mark `belongs` accepts, and those that they fork meanwhile, until none is left."""
    deadline_s = time.monotonic() + SWEEP_WAIT_S
    while (left := _marked(belongs)) and time.monotonic() < deadline_s:
        for process in left:
            # psutil compares the start time first: a recycled pid is never signalled.
            _kill(process)
        psutil.wait_procs(left, timeout=0.2)


def _marked(belongs: Callable[[str], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK) if process.pid != os.getpid() else None
            if mark is not None and belongs(mark) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            # Gone meanwhile, or another user's: not ours.
            continue
    return found


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        return


def remove_folder(folder: Path) -> None:
    """Remove a host's folder, whatever modes its guest gave to what lies in it."""
    if not folder.exists():
        return
    for place, _, _ in os.walk(folder):
        _open_up(Path(place))
    shutil.rmtree(folder)


def _open_up(folder: Path) -> None:
    for entry in [folder, *(Path(child.path) for child in os.scandir(folder) if child.is_dir(follow_symlinks=False))]:
        if stat.S_IMODE(entry.stat().st_mode) & 0o700 != 0o700:
            entry.chmod(0o700)


def sweep(state: Path) -> None:
    """End and remove all hosts that a daemon with this state folder left; harmless while none are left."""
    kill_marked(lambda mark: mark == str(state) or mark.startswith(f"{state}{os.sep}"))
    if (state / "hosts").exists():
        for folder in (state / "hosts").iterdir():
            remove_folder(folder)
        (state / "hosts").rmdir()
