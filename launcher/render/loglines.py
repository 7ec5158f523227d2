"""The job's log on standard output, as fits what that is."""

from __future__ import annotations

import re
import sys
import time
from contextlib import AbstractContextManager

from launcher.render.escapes import Harmless
from launcher.render.folding import Folding
from launcher.render.output import write_out
from launcher.render.ticker import Ticker

TICK_S = 0.5
_AT_START = re.compile(rb"\n(?:\x1b\[[0-9;:]*m)*\Z")


def log_writer(lock: AbstractContextManager[object]) -> TerminalLog | PipeLog:
    """The writer for the standard output of this process."""
    return TerminalLog() if sys.stdout.isatty() else PipeLog(lock)


class TerminalLog:
    """To a terminal, as it comes: progress bars overwrite themselves there."""

    def __init__(self) -> None:
        self.in_line = False
        """Whether the cursor stands in a line that has not ended."""
        self._harmless = Harmless()
        self._drew = False

    def write(self, data: bytes) -> None:
        """The job's next bytes."""
        shown = self._harmless.feed(data)
        if shown:
            self._drew = self._drew or b"\x1b" in shown
            self.in_line = not _AT_START.search(shown)
            write_out(shown)

    def end(self) -> None:
        """Leave the line and its colours to others."""
        ending = (b"\x1b[0m" if self._drew else b"") + (b"\n" if self.in_line else b"")
        self.in_line = self._drew = False
        if ending:
            write_out(ending)

    def close(self) -> None:
        """Nothing is held."""


class PipeLog:
    """To a pipe or a file, folded: nothing is held for longer than `Folding` says, whether the job speaks or not."""

    in_line = False

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._folding = Folding()
        self._ticker = Ticker(TICK_S, self._tick, lock)

    def write(self, data: bytes) -> None:
        """The job's next bytes."""
        self._show(self._folding.feed(data, time.monotonic()))
        if self._folding.waiting:
            self._ticker.wake()

    def end(self) -> None:
        """Show what is held."""
        self._show(self._folding.end())

    def close(self) -> None:
        """Hold nothing from now on; to be called outside the lock."""
        self._ticker.stop()

    def _tick(self) -> bool:
        self._show(self._folding.tick(time.monotonic()))
        return self._folding.waiting

    def _show(self, data: bytes) -> None:
        if data:
            write_out(data)
