"""One execution of a leg: its folders, its process from start to end, its record."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from .clock import now_s
from .files import read_json, write_atomically
from .groups import LEFTOVER_GRACE_S, signal_group
from .processes import descendants
from .usage import usage_of
from .verdict import exit_status_of
from .wire import write_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from .smallparent import Started
    from .stopping import Stopping
    from .wire import Json

RECORD_FILE = "gpurun-trial.json"
RECORD_BYTES = 8192
"""Kept on the disk while the trial runs: its record must be written even where it has filled the disk."""


class Run(NamedTuple):
    """What the kernel says of a process that has ended."""

    status: int
    """As a shell gives it."""
    usage: Json
    cut_off: bool
    """It was asked to end, since the job is to."""
    left_behind: int
    """Processes that it had begun and that were still there."""


class Place:
    """A trial's own folders."""

    def __init__(self, paths: dict[str, str], leg: str, repeat: int) -> None:
        self.output = os.path.join(paths["output"], "legs", leg, str(repeat))
        self.checkpoint = os.path.join(paths["checkpoint"], "legs", leg, str(repeat))
        self.keras = os.path.join(paths["keras"], leg)
        self.record = f"{self.output}/{RECORD_FILE}"
        self.reserve = f"{self.output}/.{RECORD_FILE}.part"

    def empty(self) -> None:
        """Make the folders anew: a trial that was cut off left what must not count. Raises `OSError`."""
        for folder in (self.output, self.checkpoint):
            if os.path.islink(folder):
                os.unlink(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder, exist_ok=True)
        os.makedirs(self.keras, exist_ok=True)
        write_atomically(self.reserve, " " * RECORD_BYTES)

    def write(self, record: Json) -> None:
        """Put the record there in one step, in the place that was kept for it; raises `OSError`."""
        text = json.dumps(record)
        try:
            descriptor = os.open(self.reserve, os.O_WRONLY | os.O_NOFOLLOW)
        except OSError:  # the job has tidied up
            write_atomically(self.record, text)
            return
        try:
            write_all(descriptor, text.encode("ascii"))
            os.ftruncate(descriptor, len(text))
        finally:
            os.close(descriptor)
        os.replace(self.reserve, self.record)

    def recorded(self, leg: str, repeat: int) -> Json:
        """The record that is there; `None` where there is no whole one of this trial."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = read_json(self.record)
            if isinstance(found, dict) and (found.get("leg"), found.get("repeat")) == (leg, repeat):
                return found
        return None


def attend(process: Started, stopping: Stopping, ended: Callable[[], None]) -> Run:
    """See a process to its end, hand on that the job is to end, and end what it leaves behind.

    `ended` is called in between: what watched it may have children of its own.
    """
    cut_off = False
    while True:
        found, status, used = os.wait4(process.pid, os.WNOHANG)
        if found:
            break
        if stopping.wanted and not cut_off:
            signal_group(process.group, signal.SIGTERM)
            cut_off = True
        if stopping.patience_s() <= 0:
            signal_group(process.group, signal.SIGKILL)
        stopping.wait()
    usage = usage_of(used, now_s() - process.began_s)
    usage["minor_faults"] -= process.minor_faults
    ended()
    return Run(exit_status_of(status), usage, cut_off, end_leftovers(process.group))


def end_leftovers(group: int) -> int:
    """End what a trial left running, wherever it has hidden: the next one is measured alone. Gives how many it was."""
    me = os.getpid()
    reap()
    left = descendants(me)
    if not left and not signal_group(group, 0):
        return 0
    ask(left, group, signal.SIGTERM)
    until = time.monotonic() + LEFTOVER_GRACE_S
    while reap() and (descendants(me) or signal_group(group, 0)) and time.monotonic() < until:
        time.sleep(0.01)  # nobody is told when the last process of a group has gone
    for _ in range(100):
        if not (descendants(me) or signal_group(group, 0)):
            break
        ask(descendants(me), group, signal.SIGKILL)
        time.sleep(0.01)
        reap()
    return max(len(left), 1)


def ask(pids: set[int], group: int, number: int) -> None:
    """Signal the group and those outside of it."""
    signal_group(group, number)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def reap() -> bool:
    """Let go of every child that has ended; always true, so that it fits into a condition."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return True
