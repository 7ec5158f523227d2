"""The shipper as the supervisor sees it: a process beside it, started again where it dies."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from typing import TYPE_CHECKING

from .job import package_home, run_paths
from .shipped import shipped

if TYPE_CHECKING:
    from .wire import Json

SHIP = "import os, sys; os.setsid(); sys.path.insert(0, sys.argv[1]); from agent.ship import ship; ship(sys.argv[2])"
AGAIN_S = 5.0
"""Between two starts of a shipper that dies."""


class Shipping:
    """One run's shipper; where none is wanted nothing happens."""

    def __init__(self, run: str, *, wanted: bool) -> None:
        self.run = run
        self.wanted = wanted
        self.process = 0
        self.bell = -1
        self.started: float | None = None

    def tend(self) -> None:
        """Have it run until everything is shipped."""
        if not self.wanted:
            return
        if self.process and os.waitpid(self.process, os.WNOHANG)[0]:
            self.process = 0
        if not self.process and self.pause_s() <= 0:
            self.started = time.monotonic()
            self.start()

    def pause_s(self) -> float:
        """In how long it is to be started again; infinite where it runs, or is not needed any more."""
        if not self.wanted or self.process or self.shipped().get("final"):
            return math.inf
        return 0.0 if self.started is None else max(0.0, self.started + AGAIN_S - time.monotonic())

    def start(self) -> None:
        """Start it; its standard input closes when there is nothing more to come. A failure is tried again."""
        self.job_ended()
        out, self.bell = os.pipe()
        log = run_paths(self.run)["supervisor.log"]
        argv = [sys.executable, "-IS", "-X", "utf8", "-c", SHIP, package_home(), self.run]
        files = [
            (os.POSIX_SPAWN_DUP2, out, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        ]
        # No fork of our own: another thread may hold a lock.
        with contextlib.suppress(OSError):
            self.process = os.posix_spawn(argv[0], argv, os.environ, file_actions=files)
        os.close(out)

    def job_ended(self) -> None:
        """Let it know at once."""
        if self.bell >= 0:
            os.close(self.bell)
            self.bell = -1

    def patience_s(self, results_grace_s: float) -> float:
        """How long a finished job's machine waits for somebody to come for the results.

        Not at all once they are shipped. As long as it takes while they are on their way: the machine's own deadline
        ends that. As ever where the store will not have them.
        """
        if not self.wanted:
            return results_grace_s
        shipped = self.shipped()
        if shipped.get("final"):
            return 0.0
        return results_grace_s if shipped.get("error_kind") == "refused" else math.inf

    def shipped(self) -> Json:
        """What the shipper says."""
        return shipped(self.run) or {}
