"""All lines to one machine: control, log and bulk apart, since bulk would hold the others up."""

from __future__ import annotations

from launcher.domain import Endpoint
from launcher.sync.connection import Line
from launcher.sync.identities import Unlocked


class Lines:
    """Opened when first used, kept for the rest of the run, reopened one by one when they die."""

    def __init__(self, endpoint: Endpoint, *, connect_timeout_s: float = 30.0) -> None:
        self.endpoint = endpoint
        self._connect_timeout_s = connect_timeout_s
        self._unlocked: Unlocked = {}
        self._bulk: dict[int, Line] = {}
        self.control = self._line()
        self.log = self._line()

    def bulk(self, number: int) -> Line:
        """One of the lines that carry contents, counted from 0."""
        return self._bulk.setdefault(number, self._line())

    def close(self) -> None:
        """Hang all of them up; harmless when done twice."""
        for line in (self.control, self.log, *self._bulk.values()):
            line.close()

    def _line(self) -> Line:
        return Line(self.endpoint, connect_timeout_s=self._connect_timeout_s, unlocked=self._unlocked)
