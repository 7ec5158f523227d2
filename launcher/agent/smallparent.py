"""Starting a process whose peak memory is its own.

The kernel counts into a process's peak what it was before it executed its program: the memory of whoever forked it.
From Python that is 6 MiB and more; so it is forked by a shell of 1 MiB, which is then gone and leaves it to us.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import signal
import socket
import sys
from typing import NamedTuple

from .clock import now_s

PR_SET_CHILD_SUBREAPER = 36
"""See prctl(2): processes whose parent is gone become ours."""
RESET = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)
SHELL = "/bin/sh"
PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""The others a shell keeps from its children."""
LINE = 9
"""The file descriptor on which the process tells its number and hears that it may begin."""
# A child of the shell ends it and then becomes the program; only when its parent is gone, who else might wait for it.
INNER = f'echo $$ >&{LINE} && kill -KILL "$0" && read -r _ <&{LINE} || exit 126; exec "$@" {LINE}>&-'
OUTER = f'({SHELL} -c \'{INNER}\' "$$" "$@"); exit 126'
# A command behind it, lest the shell save the fork.


class Started(NamedTuple):
    """A process in a group of its own."""

    pid: int
    group: int
    began_s: float
    """By `clock.now_s`."""
    minor_faults: int = 0
    """Of the shell that it was until then."""


def adopt_orphans() -> bool:
    """Become the parent of all that our descendants leave behind; whether the system can do that."""
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):
        return not ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return False


def start(argv: list[str], environment: dict[str, str], *, adopting: bool) -> Started:
    """Start the program; raises `OSError`. `adopting`: what `adopt_orphans` said."""
    if adopting and all(PLAIN_NAME.fullmatch(name) for name in environment) and os.path.exists(SHELL):
        return start_small(argv, environment)
    began_s = now_s()
    pid = os.posix_spawnp(argv[0], argv, environment, setpgroup=0, setsigdef=RESET)
    return Started(pid, pid, began_s)


def start_small(argv: list[str], environment: dict[str, str]) -> Started:
    """The same through a shell; raises `OSError`."""
    ours, its = socket.socketpair()
    with ours, its:
        shell = os.posix_spawn(
            SHELL,
            [SHELL, "-c", OUTER, "gpurun", *argv],
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, its.fileno(), LINE)],
            setpgroup=0,
            setsigdef=RESET,
        )
        its.close()
        told = ours.recv(32)
        os.waitpid(shell, 0)
        if not told:
            raise OSError(errno.ENOEXEC, "it could not be started", SHELL)
        started = Started(int(told), shell, now_s(), minor_faults_of(int(told)))
        ours.sendall(b"\n")
    return started


def minor_faults_of(pid: int) -> int:
    """A process's page faults so far; 0 where /proc does not tell."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[7])
    except (OSError, ValueError, IndexError):
        return 0
