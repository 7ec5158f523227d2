"""Plain lines on standard error, and the log on standard output: for pipes, files and CI."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING

from launcher.render.loglines import log_writer
from launcher.render.meter import summary
from launcher.render.text import INDENT, size
from launcher.render.transfers import Transfers

if TYPE_CHECKING:
    from launcher.domain import TransferProgress
    from launcher.render.meter import Meter

SAY_EVERY_S = 10.0
"""How often a long transfer says where it is."""


class PlainReporter:
    """One line for each thing that happens."""

    def __init__(self) -> None:
        # A signal's handler may speak while its own thread does.
        self._lock = threading.RLock()
        self._log = log_writer(self._lock)
        self._transfers = Transfers()

    def phase(self, name: str, detail: str = "") -> None:
        """One line a phase."""
        with self._lock:
            self._end_all()
            self._line(f"{clock()}  {name:<10} {detail}".rstrip())

    def note(self, message: str) -> None:
        """One line."""
        with self._lock:
            self._line(message)

    def warn(self, message: str) -> None:
        """One marked line."""
        with self._lock:
            self._line(f"warning: {message}")

    def transfer(self, progress: TransferProgress) -> None:
        """Its summary at the end, and where it is now and then: a pipe wants no bars."""
        with self._lock:
            now = time.monotonic()
            meter = self._under_way(progress, now)
            if meter and now - (meter.told_at or meter.began) >= SAY_EVERY_S:
                meter.told_at = now
                self._line(" " * INDENT + _halfway(meter, now))

    def log(self, data: bytes) -> None:
        """The job's bytes; of a line that redraws itself, the last state."""
        with self._lock:
            self._log.write(data)

    def close(self) -> None:
        """Say what is still unsaid; nothing follows."""
        with self._lock:
            self._end_all()
        self._log.close()

    def _end_all(self) -> None:
        self._log.end()
        now = time.monotonic()
        for meter in self._transfers.end():
            self._summary(meter, now)

    def _under_way(self, progress: TransferProgress, now: float) -> Meter | None:
        """The meter of a transfer that goes on; of one that ends here, its summary is said."""
        meter = self._transfers.take(progress, now)
        if meter is None or not progress.finished:
            return meter
        self._summary(meter, now)
        return None

    def _summary(self, meter: Meter, now: float) -> None:
        self._line(" " * INDENT + summary(meter.progress, meter.elapsed_s(now)))

    def _line(self, text: str) -> None:
        self._write(text + "\n")

    def _write(self, text: str) -> None:
        # A closed terminal must not end a run that goes on.
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()


def _halfway(meter: Meter, now: float) -> str:
    progress = meter.progress
    whole = f" of {size(progress.total_bytes)}" if progress.total_bytes else ""
    return f"{progress.label}: {size(progress.done_bytes)}{whole} after {meter.elapsed_s(now):.0f} s"


def clock() -> str:
    """The time of day where the user is."""
    return datetime.now().astimezone().strftime("%H:%M:%S")
