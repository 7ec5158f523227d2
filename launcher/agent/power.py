"""Powering the machine off."""

from __future__ import annotations

import os
import time

PATIENCE_S = 10.0
COMMANDS = (["sudo", "-n", "shutdown", "-h", "now"], ["shutdown", "-h", "now"])


def power_off() -> None:
    """Shut the machine down; EC2 terminates one that was launched to. Returns where it could not, too."""
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    for argv in COMMANDS:
        if succeeds(argv):
            return


def succeeds(argv: list[str]) -> bool:
    """Whether a command ends well, and soon."""
    try:
        # No fork of our own: another thread may hold a lock.
        pid = os.posix_spawnp(argv[0], argv, os.environ)
    except OSError:
        return False
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.02)  # its end is told by SIGCHLD, which the job's may be taken for
    return False
