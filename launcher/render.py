"""What people and programs see. The job's log goes to standard output; everything of ours to standard error.

The only module that imports rich, and only where a terminal is there to show it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from launcher.domain import Receipt, TransferProgress
    from launcher.ports import Reporter


def reporter(*, as_json: bool) -> Reporter:
    """The reporter that fits: JSON lines, a terminal, or plain lines for a pipe."""
    if as_json:
        return JsonReporter()
    return TerminalReporter() if sys.stderr.isatty() else PlainReporter()


class PlainReporter:
    """Plain lines on standard error."""

    def phase(self, name: str, detail: str = "") -> None:
        """One line a phase."""
        self._line(f"{_clock()}  {name:<10} {detail}".rstrip())

    def note(self, message: str) -> None:
        """One line."""
        self._line(message)

    def warn(self, message: str) -> None:
        """One marked line."""
        self._line(f"warning: {message}")

    def transfer(self, progress: TransferProgress) -> None:
        """Say the end of a transfer alone: a pipe wants no bars."""
        if progress.done_bytes >= progress.total_bytes and progress.done_files >= progress.total_files:
            self._line(f"          {progress.label}: {progress.done_files} files, {size(progress.done_bytes)}")

    def log(self, data: bytes) -> None:
        """The job's bytes, as they are."""
        write_out(data)

    def _line(self, text: str) -> None:
        # A closed terminal must not end a run that goes on.
        with contextlib.suppress(OSError):
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


class TerminalReporter(PlainReporter):
    """The same on a terminal: dimmed clocks, progress bars with rate and time left."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - a pipe never pays for it

        self._console = Console(stderr=True, highlight=False)
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._label = ""

    def phase(self, name: str, detail: str = "") -> None:
        """One line a phase."""
        self._end_bar()
        self._print(f"[dim]{_clock()}[/dim]  [bold cyan]{name:<10}[/bold cyan] ", detail)

    def note(self, message: str) -> None:
        """One line."""
        self._end_bar()
        self._print("", message)

    def warn(self, message: str) -> None:
        """One marked line."""
        self._end_bar()
        self._print("[yellow]warning:[/yellow] ", message)

    def log(self, data: bytes) -> None:
        """The job's bytes, as they are."""
        self._end_bar()
        super().log(data)

    def transfer(self, progress: TransferProgress) -> None:
        """A bar with bytes, rate and time left."""
        bars = self._bar(progress)
        if self._task is not None:
            text = f"{progress.label} {progress.done_files}/{progress.total_files} files"
            bars.update(self._task, completed=progress.done_bytes, total=progress.total_bytes, description=text)

    def _bar(self, progress: TransferProgress) -> Progress:
        if self._bars is not None and self._label == progress.label:
            return self._bars
        self._end_bar()
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (TextColumn("           {task.description}"), BarColumn(), DownloadColumn())
        self._bars = Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=self._console)
        self._label = progress.label
        self._task = self._bars.add_task(progress.label, total=progress.total_bytes)
        self._bars.start()
        return self._bars

    def _end_bar(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _print(self, markup: str, text: str) -> None:
        from rich.markup import escape  # noqa: PLC0415

        with contextlib.suppress(OSError):
            self._console.print(markup + escape(text), soft_wrap=True)


class JsonReporter:
    """One JSON object a line on standard output."""

    def phase(self, name: str, detail: str = "") -> None:
        """`{"event": "phase"}`."""
        self._say("phase", name=name, detail=detail)

    def note(self, message: str) -> None:
        """`{"event": "note"}`."""
        self._say("note", message=message)

    def warn(self, message: str) -> None:
        """`{"event": "warning"}`."""
        self._say("warning", message=message)

    def transfer(self, progress: TransferProgress) -> None:
        """`{"event": "transfer"}`, at its end."""
        if progress.done_bytes >= progress.total_bytes and progress.done_files >= progress.total_files:
            self._say("transfer", **asdict(progress))

    def log(self, data: bytes) -> None:
        """`{"event": "log"}`; bytes that are not UTF-8 are replaced here, and whole in the log file."""
        self._say("log", text=data.decode("utf-8", "replace"))

    def _say(self, event: str, **fields: Any) -> None:
        print_json({"event": event, "time": time.time(), **fields})


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON on standard output; dataclasses, dates, paths and enums included."""
    text = json.dumps(value, default=_plain, indent=indent, ensure_ascii=False) + "\n"
    write_out(text.encode("utf-8", "surrogateescape"))


def write_out(data: bytes) -> None:
    """Write to standard output; a reader that left, a full disk or a closed terminal must not end a run."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError:
        # What is still in the buffer goes nowhere, and nothing more is tried.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(type(value).__name__)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they must be; right-aligned where every cell is a number."""
    cells = [list(row) for row in rows]
    widths = [max(len(text) for text in column) for column in zip(headers, *cells, strict=True)]
    numeric = [bool(cells) and all(_number(row[index]) for row in cells) for index in range(len(headers))]
    return "\n".join(_row(row, widths, numeric) for row in [list(headers), *cells])


def _number(text: str) -> bool:
    return text.replace(".", "", 1).replace("%", "").replace("-", "").strip().isdigit() or text in {"", "-"}


def _row(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    aligned = [
        text.rjust(width) if right else text.ljust(width)
        for text, width, right in zip(cells, widths, numeric, strict=True)
    ]
    return "  ".join(aligned).rstrip()


def receipt_text(receipt: Receipt, *, log_lines: Sequence[str] = ()) -> str:
    """The end of a run for people: what happened, where things are, what it cost, where the time went."""
    took = sum(phase.seconds for phase in receipt.phases)
    phases = "  ".join(f"{phase.name} {phase.seconds:.1f}" for phase in receipt.phases)
    lines = [
        *log_lines,
        f"run       {receipt.run_id}: {receipt.status}"
        + (f", the job exited with {receipt.exit_status}" if receipt.exit_status else ""),
        f"machine   {receipt.instance_type} {receipt.market} in {receipt.zone}: terminated",
        f"results   {_results(receipt)}",
        f"cost      {receipt.cost_usd:.4f} USD for {receipt.billed_s:.0f} s"
        f" at {receipt.price_usd_per_hour:.4f} USD an hour, disk and address included",
        f"seconds   {phases}  = {took:.1f}",
    ]
    return "\n".join(lines)


def _results(receipt: Receipt) -> str:
    if not receipt.fetched:
        return "none came home"
    if not receipt.files:
        return f"{receipt.results_dir}: the log; the job wrote nothing to $GPURUN_OUTPUT_DIR"
    return f"{receipt.results_dir}: {receipt.files} files, {size(receipt.size_bytes)}, verified"


def size(size_bytes: int) -> str:
    """Bytes for people, in powers of ten as disks and networks count."""
    amount = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def age(moment: datetime) -> str:
    """How long ago, for people."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _clock() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
