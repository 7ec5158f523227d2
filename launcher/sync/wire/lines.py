"""All lines to one machine: control, log and bulk apart, since bulk would hold the others up."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from launcher.domain import Endpoint
from launcher.errors import GpurunError
from launcher.sync.ssh.connection import Line
from launcher.sync.ssh.identities import Unlocked
from launcher.sync.wire.session import ask, session

DIAL_S = 5.0
FAR_LINES = 3
"""Beside the control connection: what a long way is sure to need."""
NEAR_RTT_S = 0.003
"""Nearer than that a second connection brings nothing that one did not fill."""


class Lines:
    """Opened when first used, kept for the rest of the run, reopened one by one when they die."""

    def __init__(self, endpoint: Endpoint, *, connect_timeout_s: float = 30.0) -> None:
        self.endpoint = endpoint
        self._connect_timeout_s = connect_timeout_s
        self._unlocked: Unlocked = {}
        self._bulk: dict[int, Line] = {}
        self._closed = threading.Event()
        self.rtt_s: float | None = None
        """How long a question and its answer take, once `warm` has asked."""
        self.control = self._line()
        self.log = self._line()

    def bulk(self, number: int) -> Line:
        """One of the lines that carry contents, counted from 0."""
        return self._bulk.setdefault(number, self._line())

    def warm(self) -> None:
        """Have ready, in the background, what a transfer will use: the agent, and more lines where the way is long."""
        threading.Thread(target=self._warm, name="gpurun-warm", daemon=True).start()

    def _warm(self) -> None:
        # Whoever needs the line next is told what is wrong with it.
        with suppress(GpurunError), session(self.control.fresh(DIAL_S)) as wire:
            began = time.monotonic()
            ask(wire, op="hello")
            self.rtt_s = time.monotonic() - began
        for number in range(FAR_LINES if (self.rtt_s or 0.0) > NEAR_RTT_S else 0):
            line = self.bulk(number)
            threading.Thread(target=self._open, args=(line,), name="gpurun-warm", daemon=True).start()

    def _open(self, line: Line) -> None:
        with suppress(GpurunError):
            if not self._closed.is_set():
                with session(line.fresh(DIAL_S)):
                    pass  # it is kept

    def close(self) -> None:
        """Hang all of them up; harmless when done twice."""
        self._closed.set()
        for line in (self.control, self.log, *list(self._bulk.values())):
            line.close()

    def _line(self) -> Line:
        return Line(self.endpoint, connect_timeout_s=self._connect_timeout_s, unlocked=self._unlocked)
