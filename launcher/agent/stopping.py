"""That a job's legs are to end: SIGTERM, the wake-up it brings, and the time that is left after it."""

from __future__ import annotations

import math
import os
import select
import signal
from typing import TYPE_CHECKING

from .clock import now_s

if TYPE_CHECKING:
    from types import FrameType

LAST_SHARE = 0.2
LAST_S = 3.0
"""Of the grace, what is kept for writing down that a trial was cut off."""
LOOK_S = 30.0


class Stopping:
    """Whether the job is to end; made in the process that is asked to."""

    def __init__(self, grace_s: float) -> None:
        self.leave_s = grace_s - min(LAST_S, LAST_SHARE * grace_s)
        self.wanted_at: float | None = None
        self.wakeup, waker = os.pipe()
        os.set_blocking(waker, False)
        os.set_blocking(self.wakeup, False)
        signal.signal(signal.SIGCHLD, self.wake)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.want)
        # "Save and go on" goes to the leg's own processes; one that catches it counts as asked.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)

    @property
    def wanted(self) -> bool:
        """Whether the job was asked to end."""
        return self.wanted_at is not None

    def want(self, _number: int, _frame: FrameType | None) -> None:
        """Note it."""
        if self.wanted_at is None:
            self.wanted_at = now_s()

    def wake(self, _number: int, _frame: FrameType | None) -> None:
        """Nothing to do here: the number is on the pipe."""

    def patience_s(self) -> float:
        """How long a leg may still save; endless while nobody asked it to."""
        return math.inf if self.wanted_at is None else self.wanted_at + self.leave_s - now_s()

    def wait(self) -> None:
        """Until a signal comes or the patience ends; afterwards every second."""
        left_s = self.patience_s()
        if select.select([self.wakeup], [], [], min(LOOK_S, left_s if left_s > 0 else 1.0))[0]:
            os.read(self.wakeup, 256)
