"""The run on a terminal: dimmed clocks, one bar at a time, and the job's log between them."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from typing import IO, TYPE_CHECKING, cast

from rich.console import Console
from rich.text import Text

from launcher.render.bar import Bar
from launcher.render.plain import PlainReporter, clock
from launcher.render.ticker import Ticker

if TYPE_CHECKING:
    from launcher.domain import TransferProgress

DRAW_EVERY_S = 0.1
TICK_S = 0.5
"""A bar goes on telling its rate while nothing moves."""
ERASE = "\x1b[J"
"""From the cursor on: where the window became narrower, a bar lies on two rows."""


class _Canvas(io.StringIO):
    """What rich draws on: it flushes even where it only captures, and a terminal that was closed must end no run."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The terminal's, which says which signs it has."""
        return sys.stderr.encoding or "utf-8"

    def isatty(self) -> bool:
        """As the terminal that the drawing is for."""
        return True


class TerminalReporter(PlainReporter):
    """The cursor rests at the beginning of the bar's line, so that whatever comes next overwrites it."""

    def __init__(self) -> None:
        super().__init__()
        # rich by itself would keep bold and dim without colours.
        canvas = cast("IO[str]", _Canvas())
        self._console = Console(file=canvas, color_system=None if os.environ.get("NO_COLOR") else "auto")
        self._bar: Bar | None = None
        self._drawn = False
        self._drawn_at = 0.0
        self._ticker = Ticker(TICK_S, self._tick, self._lock)

    def phase(self, name: str, detail: str = "") -> None:
        """One line a phase."""
        with self._lock:
            self._end_all()
            self._line(self._styled((clock(), "dim"), "  ", (f"{name:<10}", "bold cyan"), f" {detail}".rstrip()))

    def warn(self, message: str) -> None:
        """One marked line."""
        with self._lock:
            self._line(self._styled(("warning:", "yellow"), f" {message}"))

    def transfer(self, progress: TransferProgress) -> None:
        """A bar with bytes, files, rate and time left; in the end one line of what it came to."""
        with self._lock:
            now = time.monotonic()
            if self._under_way(progress, now) and now - self._drawn_at >= DRAW_EVERY_S:
                self._draw(now)
                self._ticker.wake()

    def log(self, data: bytes) -> None:
        """The job's bytes, in the place of the bar."""
        with self._lock:
            self._erase()
            super().log(data)

    def close(self) -> None:
        """Leave the terminal as it was found."""
        super().close()
        self._ticker.stop()

    def _end_all(self) -> None:
        self._erase()
        super()._end_all()

    def _tick(self) -> bool:
        if self._drawn:
            self._draw(time.monotonic())
        return self._drawn

    def _draw(self, now: float) -> None:
        """The bar of the transfer that began first; a line of the job's that has not ended is not overwritten."""
        meter = self._transfers.first()
        if meter is None or self._log.in_line:
            return
        if self._bar is None or self._bar.meter is not meter:
            self._bar = Bar(self._console, meter)
        # As it is now: COLUMNS, which rich believes, is as wide as some shell was at its start.
        with contextlib.suppress(OSError):
            self._console.width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        self._drawn, self._drawn_at = True, now
        self._write(f"{self._bar.line()}{ERASE}\r")

    def _erase(self) -> None:
        if self._drawn:
            self._drawn = False
            self._write(ERASE)

    def _line(self, text: str) -> None:
        self._erase()
        if self._log.in_line:
            self._log.end()
        super()._line(text)

    def _styled(self, *parts: str | tuple[str, str]) -> str:
        with self._console.capture() as shown:
            self._console.print(Text.assemble(*parts), soft_wrap=True, end="")
        return shown.get()
