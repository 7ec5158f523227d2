"""The job's checkpoints: asking for one, and seeing that there is another."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def ask(session: int) -> int:
    """Send SIGUSR1, "save and go on", to whatever of the job's session catches it; to how many.

    One that does not catch it would die. SLURM's convention; without /proc nobody is asked.
    """
    asked = 0
    for pid in processes_of(session):
        if catches(pid, signal.SIGUSR1):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGUSR1)
                asked += 1
    return asked


def processes_of(session: int) -> list[int]:
    """The processes of a session, from /proc; none where there is no such thing."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid = int(name)
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    # The name, in brackets, may hold anything.
                    if int(file.read().rpartition(")")[2].split()[3]) == session:
                        found.append(pid)
    return found


def catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for the signal; see proc(5), SigCgt."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            name, _, mask = line.partition(b":")
            if name == b"SigCgt":
                return bool(int(mask, 16) >> (number - 1) & 1)
    return False


def state_of(folder: str) -> str:
    """A word that is another one whenever a file below `folder` is; empty where there is none."""
    listed = sorted(files_below(folder))
    if not listed:
        return ""
    text = "\0".join(f"{name}\0{size}\0{mtime_ns}" for name, size, mtime_ns in listed)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def files_below(folder: str) -> Iterator[tuple[str, int, int]]:
    """Path, size and time of everything below it that is no folder; what vanishes meanwhile is left out."""
    waiting = [folder]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    with contextlib.suppress(FileNotFoundError):
                        found = entry.stat(follow_symlinks=False)
                        yield entry.path, found.st_size, found.st_mtime_ns
