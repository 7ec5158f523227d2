"""The processes of this machine, by descent; from /proc, and none where there is no such thing."""

from __future__ import annotations

import contextlib
import os


def parents() -> dict[int, int]:
    """Each process's parent."""
    found: dict[int, int] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid = int(name)
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    # The name, in brackets, may hold anything.
                    found[pid] = int(file.read().rpartition(")")[2].split()[1])
    return found


def descendants(ancestor: int) -> set[int]:
    """All processes that a process has begun, and those that they have, as far as they still hang together."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [ancestor]
    while waiting:
        for pid in children.get(waiting.pop(), []):
            found.add(pid)
            waiting.append(pid)
    return found
