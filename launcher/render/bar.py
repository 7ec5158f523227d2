"""A transfer as one line of a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.segment import Segment, Segments
from rich.table import Column

from launcher.render.meter import moved_bytes
from launcher.render.text import INDENT

if TYPE_CHECKING:
    from rich.console import Console

    from launcher.domain import TransferProgress
    from launcher.render.meter import Meter

LABEL_CELLS = 24
RATE_OVER_S = 5.0
ANY_WIDTH = 1000
"""More than a bar can need, in columns."""


class Bar:
    """One transfer, drawn by rich and written by whoever asks for it.

    rich's own live display redirects both streams and refreshes from a thread of its own, between two bytes of the
    job's log and over its open line; so it is never started.
    """

    def __init__(self, console: Console, meter: Meter) -> None:
        self.meter = meter
        self._console = console
        self._layouts = _layouts()
        self._moved = moved_bytes(meter.progress)
        label = "".join(each if each.isprintable() else "?" for each in meter.progress.label)
        self._progress = Progress(console=console, auto_refresh=False, speed_estimate_period=RATE_OVER_S)
        self._id = self._progress.add_task(label, total=None, completed=meter.progress.done_bytes)

    def line(self) -> str:
        """How far it is, in less than the width of the terminal; what matters least goes first."""
        self._take(self.meter.progress)
        width = self._console.width - 1
        wide = self._console.options.update(width=ANY_WIDTH)
        line: list[Segment] = []
        for layout in self._layouts:
            self._progress.columns = layout
            (line,) = self._console.render_lines(self._progress, wide, pad=False)
            if Segment.get_line_length(line) <= width:
                break
        with self._console.capture() as shown:
            self._console.print(Segments(Segment.adjust_line_length(line, width, pad=False)))
        return shown.get()

    def _take(self, progress: TransferProgress) -> None:
        self._progress.update(self._id, total=progress.total_bytes or None, files=_files(progress))
        before, self._moved = self._moved, moved_bytes(progress)
        if self._moved < before:
            # Begun again, after a cut.
            self._progress.reset(self._id)
        # What was there already is no speed: it goes past rich's estimate. And `advance` takes note of nothing moved,
        # where `update` would not: the rate falls with a line that falls silent.
        step = max(self._moved - before, 0)
        self._progress.tasks[0].completed = progress.done_bytes - step
        self._progress.advance(self._id, step)


def _layouts() -> list[tuple[ProgressColumn, ...]]:
    """From the widest to the narrowest; the last is cut where even that is too wide."""
    percent, files = TaskProgressColumn(), TextColumn("{task.fields[files]}")
    size, rate, left = DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(compact=True)
    return [
        (_label(INDENT), percent, BarColumn(24), size, files, rate, left),
        (_label(INDENT), percent, BarColumn(10), size, files, rate, left),
        (_label(), percent, size, files, rate, left),
        (_label(), percent, size, rate, left),
        (_label(), percent, size, rate),
        (_label(), percent),
    ]


def _label(indent: int = 0) -> TextColumn:
    column = Column(no_wrap=True, max_width=indent + LABEL_CELLS)
    return TextColumn(" " * indent + "{task.description}", markup=False, table_column=column)


def _files(progress: TransferProgress) -> str:
    if progress.total_files > 1:
        return f"{progress.done_files}/{progress.total_files} files"
    return f"{progress.done_files} files" if progress.total_files <= 0 and progress.done_files > 1 else ""
