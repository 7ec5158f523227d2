"""The course of a training, from its metrics.jsonl: streamed, however large it is, and thinned to what can be drawn."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from launcher.compare.untrusted import LARGEST, LONGEST_S, count, number, of, parsed
from launcher.comparison import Point

COSTS = frozenset({"cost", "loss"})
ERRORS = frozenset({"error", "rmse", "reconstruction"})
LONGEST_LINE = 64 << 10
WHOLE_BYTES = 16 << 20
"""Of a larger file, samples are read: a hundred thousand figures say all that a chart or a median can."""
WINDOWS = 4_000
"""How many samples."""
MOST_EPOCHS = 4_096
CLOCK_S = 1.0
"""How far two clocks' roundings may lie apart."""
LATE_S = 10.0
"""How long after the trial's end a figure may come, of a process that outlived it."""


@dataclass(slots=True, kw_only=True)
class Course:
    """What is known of the training so far; figures go in one after the other, and nothing else is kept."""

    began_at_s: float
    """Seconds since the epoch, by the machine's clock."""
    elapsed_s: float | None
    target: float | None
    keep: int
    """So many points at least, where there are as many, and about twice as many at most."""
    points: list[Point] = field(default_factory=list)
    first_s: float | None = None
    """When the first figure came, of any stage."""
    first: Point | None = None
    """Of the last stage."""
    last: Point | None = None
    several_stages: bool = False
    epochs: list[tuple[int, float]] = field(default_factory=list)
    """Which epoch had its first figure when."""
    target_s: float | None = None
    diverged_at_step: int | None = None
    passed_over: Counter[str] = field(default_factory=Counter)
    """How many lines or figures, and why."""
    _stage: str = ""
    _done: set[str] = field(default_factory=set)
    _every: int = 1
    _seen: int = 0
    _pending: dict[str, Any] = field(default_factory=dict)

    def read(self, file: BinaryIO) -> None:
        """Take in all lines of a metrics.jsonl; raises `OSError`."""
        for line in _lines(file):
            self._line(line)
        self._flush()
        if self.last and self.points[-1] is not self.last:
            self.points.append(self.last)

    def notes(self) -> tuple[str, ...]:
        """What was passed over, in plain words."""
        return tuple(f"{many:,} {'line' if many == 1 else 'lines'} of metrics.jsonl {why}" for why, many in self._why())

    def _why(self) -> list[tuple[str, int]]:
        return sorted(self.passed_over.items())

    def _line(self, line: bytes) -> None:
        if not line.strip():
            return
        found = of(parsed(line)) if len(line) <= LONGEST_LINE else {}
        name, step = found.get("name"), count(found.get("step"))
        epoch, at = number(found.get("epoch"), 0, LARGEST), number(found.get("time"), 0, LARGEST)
        if not isinstance(name, str) or step is None or epoch is None or at is None or epoch > 1e12:
            self.passed_over["cannot be read as figures"] += 1
            return
        stage, _, word = name[:200].rpartition("/")
        if word not in COSTS | ERRORS or not self._is_in(stage):
            return
        if (step, epoch) != (self._pending.get("step"), self._pending.get("epoch")):
            self._flush()
            self._pending = {"step": step, "epoch": epoch, "at": at}
        self._pending["cost" if word in COSTS else "error"] = found.get("value")

    def _is_in(self, stage: str) -> bool:
        """Whether a line counts: of the stage under way, or of one that begins; what one stage tells is not the next's.

        A stage that comes again is no stage, but a second course beside the first, such as `val/loss`.
        """
        if stage == self._stage:
            return True
        if stage in self._done or stage in {"val", "valid", "validation", "test", "eval"} or len(self._done) > 100:
            return False
        self._flush()
        if self.last or self._done:
            self.several_stages = True
        self._done.add(self._stage)
        self._stage, self._every, self._seen = stage, 1, 0
        self.points, self.epochs = [], []
        self.first = self.last = self.target_s = None
        return True

    def _flush(self) -> None:
        """The figures of one step are together: take them in."""
        pending, self._pending = self._pending, {}
        if not pending:
            return
        at_s = pending["at"] - self.began_at_s
        if at_s < -CLOCK_S:
            self.passed_over["are from before the trial began"] += 1
        elif at_s > min(LONGEST_S, math.inf if self.elapsed_s is None else self.elapsed_s + LATE_S):
            self.passed_over["are from after its end"] += 1
        elif self.last and (pending["step"] <= self.last.step or at_s < self.last.at_s - CLOCK_S):
            self.passed_over["go back in steps or time"] += 1
        else:
            self._take(pending, max(at_s, 0.0, self.last.at_s if self.last else 0.0))

    def _take(self, pending: dict[str, Any], at_s: float) -> None:
        step, epoch, cost, error = (pending.get(name) for name in ("step", "epoch", "cost", "error"))
        assert isinstance(step, int)  # noqa: S101 - it was checked line by line
        assert isinstance(epoch, float)  # noqa: S101 - likewise
        if _is_infinite(cost) and self.diverged_at_step is None:
            self.diverged_at_step = step
        point = Point(at_s=at_s, epoch=epoch, step=step, cost=number(cost), error=number(error))
        if self.first_s is None:
            self.first_s = at_s
        if point.cost is None and point.error is None:
            return
        self.first, self.last = self.first or point, point
        if self.target_s is None and self.target is not None and point.error is not None and point.error <= self.target:
            self.target_s = at_s
        self._epoch(math.floor(epoch), at_s)
        if self._seen % self._every == 0:
            self.points.append(point)
        self._seen += 1
        if len(self.points) > 2 * self.keep:
            self.points, self._every = self.points[::2], 2 * self._every

    def _epoch(self, epoch: int, at_s: float) -> None:
        if not self.epochs or epoch > self.epochs[-1][0]:
            self.epochs.append((epoch, at_s))
        if len(self.epochs) > MOST_EPOCHS:
            # The first two stay, since they tell the first epoch; durations are told by the epochs between two.
            self.epochs = self.epochs[:2] + self.epochs[2::2]

    def epoch_durations_s(self) -> list[float]:
        """Of each epoch that another followed, in order; of several that were told as one, their mean."""
        both = zip(self.epochs, self.epochs[1:], strict=False)
        return [(end - begin) / (later - earlier) for (earlier, begin), (later, end) in both]


def _is_infinite(value: Any) -> bool:
    """Whether it is a number that is none: NaN or infinite."""
    return isinstance(value, float) and not math.isfinite(value)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Its whole lines; of a very large file those at evenly spaced places, the first and the last among them."""
    size = os.fstat(file.fileno()).st_size
    if size <= WHOLE_BYTES:
        yield from _until(file, size)
        return
    window = WHOLE_BYTES // WINDOWS
    for index in range(WINDOWS + 1):
        start = index * (size - window) // WINDOWS
        file.seek(start)
        if start:
            file.readline(LONGEST_LINE)  # it was entered in its middle
        yield from _until(file, start + window)


def _until(file: BinaryIO, end: int) -> Iterator[bytes]:
    """Lines that begin before `end`; of one that is too long, its beginning."""
    while file.tell() < end and (line := file.readline(LONGEST_LINE + 1)):
        yield line
