"""Process groups: signalling one, ending one."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from .checkpoint import processes_of

LEFTOVER_GRACE_S = 2.0


def signal_group(pid: int, number: int) -> bool:
    """Signal a process group; `False` where nothing of it is left."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # macOS says so of a group that holds only zombies.
        return False
    return True


def end_group(pid: int) -> None:
    """End what the job left running in its process group, so that its log is final."""
    if not signal_group(pid, signal.SIGTERM):
        return
    until = time.monotonic() + LEFTOVER_GRACE_S
    while signal_group(pid, 0) and time.monotonic() < until:
        time.sleep(0.01)  # nobody is told when the last process of a group has gone
    signal_group(pid, signal.SIGKILL)


def kill_session(session: int) -> None:
    """Kill what is left of a session in whatever groups: a job's legs have some of their own. Not without /proc."""
    for pid in processes_of(session):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
