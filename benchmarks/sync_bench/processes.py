"""Processes of the benchmark: how long one takes, what a tree of them has computed, and how they end."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Words before a long-lived command: the kernel ends it when the benchmark dies, however that happens."""


class Failed(Exception):
    """A command of a contender did not do what it should."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended well."""

    wall_s: float
    cpu_s: float
    """Of the command and everything that it waited for."""


def leave(process: subprocess.Popen, patience_s: float) -> None:
    """End a process that ends when its input does; the hard way where it does not."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def timed(command: list[str], env: dict[str, str], *, limit_s: float) -> Ran:
    """Run a command to its end, in a process group of its own; raises `Failed` on a status, or when it takes longer."""
    with tempfile.TemporaryFile() as told:
        began = time.perf_counter()
        process = _start(command, env, told.fileno())
        try:
            usage = _wait(process, began + limit_s)
            wall_s = time.perf_counter() - began
        except BaseException:
            end_group(process)
            raise
        if process.returncode != 0:
            told.seek(0)
            text = told.read().decode(errors="replace").strip()[-400:]
            raise Failed(f"status {process.returncode}: {text}")
    return Ran(wall_s, usage.ru_utime + usage.ru_stime)


def cut_off(command: list[str], env: dict[str, str], far_enough: Callable[[], bool], *, limit_s: float) -> None:
    """Start a command and kill it, with all that it started, once `far_enough`."""
    deadline = time.monotonic() + limit_s
    process = _start(command, env, subprocess.DEVNULL)
    try:
        while not far_enough():
            if process.poll() is not None:
                raise Failed(f"ended with status {process.returncode} before it could be cut off")
            if time.monotonic() > deadline:
                raise Failed(f"was not half through after {limit_s:.0f} s")
            time.sleep(0.002)  # a rival tells nobody how far it is
    finally:
        end_group(process)


def _start(command: list[str], env: dict[str, str], stderr: int) -> subprocess.Popen:
    return subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        start_new_session=True,
    )


def end_group(process: subprocess.Popen) -> None:
    """Kill a process that leads a session, and its group."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen, deadline: float) -> resource.struct_rusage:
    """The end of it with what it used; a descriptor of the process tells, so that nothing is polled."""
    watch = os.pidfd_open(process.pid)
    try:
        left_s = max(0.0, deadline - time.perf_counter())
        if not _readable(watch, left_s):
            raise Failed(f"not done in time, {left_s:.0f} s")
    finally:
        os.close(watch)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def _readable(descriptor: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def end_below(process: subprocess.Popen) -> None:
    """Kill what a process started and waits for; where that is the first of a PID namespace, all of it goes."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        with suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Tree:
    """A process and everything below it, at one moment."""

    cpu_s: float
    """Of those that live, and of those that they have waited for."""
    count: int


def tree(root: int | None) -> Tree:
    """What a process and its descendants have used so far."""
    if root is None:
        return Tree(0.0, 0)
    children: dict[int, list[int]] = defaultdict(list)
    ticks: dict[int, int] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children[int(fields[1])].append(int(path.name))
            ticks[int(path.name)] = sum(map(int, fields[11:15]))
    found, todo = 0, [root]
    used = 0
    while todo:
        pid = todo.pop()
        if pid in ticks:
            found += 1
            used += ticks[pid]
            todo += children[pid]
    return Tree(used / TICKS_PER_S, found)


def settled(root: int | None, most: int, timeout_s: float) -> None:
    """Wait until a tree has shrunk to `most` processes: what a command left to finish there is done."""
    deadline = time.monotonic() + timeout_s
    while tree(root).count > most and time.monotonic() < deadline:
        time.sleep(0.02)  # they are not our children
