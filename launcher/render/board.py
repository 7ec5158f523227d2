"""Several runs on one terminal: news as lines, and below them one line for each run that is redrawn as it goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Sequence

from launcher.render.plain import clock

ERASE = "\x1b[K"


class Board:
    """On a terminal the lines of the runs stay at the bottom; elsewhere there are the news alone."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._began = time.monotonic()
        self._states = dict.fromkeys(labels, "starting")
        self._width = max(map(len, labels), default=0)
        self._drawn = 0
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def news(self, label: str, text: str) -> None:
        """A line that stays."""
        before = f"{label:<{self._width}}  " if len(self._states) > 1 else ""
        self._write(f"{clock()}  {before}{_printable(text)}\n")

    def state(self, label: str, text: str) -> None:
        """What a run does now."""
        self._states[label] = text
        self._write("")

    def tick(self) -> None:
        """Draw the time anew."""
        if self._live:
            self._write("")

    def close(self) -> None:
        """Leave the news alone behind."""
        self._states.clear()
        self._write("")

    def _write(self, text: str) -> None:
        if not self._live:
            out = text
        else:
            elapsed_s = int(time.monotonic() - self._began)
            columns = shutil.get_terminal_size().columns
            lines = [
                f"{elapsed_s // 60}:{elapsed_s % 60:02}  {label:<{self._width}}  {_printable(state)}"[: columns - 1]
                for label, state in self._states.items()
            ]
            up = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
            self._drawn = len(lines)
            out = up + text + "".join(f"{line}{ERASE}\n" for line in lines)
        # A closed terminal must not end a comparison that goes on.
        with contextlib.suppress(OSError):
            sys.stderr.write(out)
            sys.stderr.flush()


def _printable(text: str) -> str:
    """What a machine has said is no order to the terminal."""
    return "".join(each if each.isprintable() else " " for each in text)
