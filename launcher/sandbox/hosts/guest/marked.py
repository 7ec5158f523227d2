"""Processes that carry a host's mark in their environment, and their end. Needs psutil on the path."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

MARK = "GPURUN_SANDBOX_HOST"
"""Environment variable of every process of a host: its folder."""

KILL_WAIT_S = 10.0


def kill_marked(belongs: Callable[[str], bool]) -> None:
    """Kill every process whose mark `belongs` accepts, and what they fork meanwhile, until none is left.

    psutil compares start times before it signals: a recycled process number is never hit.
    """
    import psutil  # noqa: PLC0415 - a host's first process needs it only when the daemon died

    deadline_s = time.monotonic() + KILL_WAIT_S
    while (left := _marked(psutil, belongs)) and time.monotonic() < deadline_s:
        for process in left:
            try:
                process.kill()
            except psutil.Error:
                # Gone meanwhile.
                continue
        # Not psutil's wait: it would reap a child whose Popen then never learns its status.
        time.sleep(0.01)


def _marked(psutil: Any, belongs: Callable[[str], bool]) -> list[Any]:
    found = {}
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK) if process.pid != os.getpid() else None
            if mark is None or not belongs(mark) or process.status() == psutil.STATUS_ZOMBIE:
                continue
            found[process.pid] = process
            # A program that cleared its environment is still its parent's child.
            found.update({child.pid: child for child in process.children(recursive=True)})
        except (psutil.Error, OSError):
            # Gone meanwhile, or another user's: not ours.
            continue
    return [process for process in found.values() if process.pid != os.getpid()]
