"""From figures to coordinates: linear and logarithmic scales with round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

LARGEST, SMALLEST = 1e15, 1e-15
"""What lies beyond cannot be drawn beside anything that was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """`low` lies at the coordinate `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The coordinate of a value; of one beyond the ends, the end."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def drawable(value: float | None) -> bool:
    """Whether a figure can be drawn at all."""
    return value is not None and math.isfinite(value) and abs(value) <= LARGEST


def linear(values: Iterable[float], start: float, end: float, *, from_zero: bool = False, most_ticks: int = 6) -> Scale:
    """Over all values, widened to round ticks; of no value at all, 0 to 1."""
    known = [value for value in values if drawable(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    low = min(low, 0.0) if from_zero else low
    if high - low <= max(abs(low), abs(high)) * 1e-9 + SMALLEST:
        margin = abs(high) / 2 or 0.5
        low, high = (low, high + margin) if from_zero and low >= 0 else (low - margin, high + margin)
    step = _step((high - low) / most_ticks)
    return Scale(low=math.floor(low / step) * step, high=math.ceil(high / step) * step, start=start, end=end)


def logarithmic(values: Iterable[float], start: float, end: float, *, margin: float = 0.04) -> Scale:
    """Over all positive values, a little wider on both sides."""
    known = [value for value in values if drawable(value) and value >= SMALLEST] or [1.0, 10.0]
    low, high = min(known), max(known)
    if high / low < 1.5:
        low, high = low / 1.5, high * 1.5
    wider = (high / low) ** margin
    return Scale(low=low / wider, high=high * wider, start=start, end=end, logarithmic=True)


def asks_for_logarithm(values: Sequence[float], *, ratio: float = 30) -> bool:
    """Whether positive values lie so far apart that a linear axis would press most of them against its end."""
    known = [value for value in values if drawable(value)]
    return bool(known) and min(known) >= SMALLEST and max(known) / min(known) > ratio


def ticks(scale: Scale, most: int = 6) -> list[float]:
    """Round values within the scale: 1, 2 and 5 times powers of ten, or powers of ten alone."""
    if scale.logarithmic:
        return _decades(scale, most)
    step = _step((scale.high - scale.low) / most)
    first = math.ceil(scale.low / step - 1e-9)
    found = [(first + index) * step for index in range(most + 2)]
    return [value for value in found if value <= scale.high + step * 1e-9]


def _decades(scale: Scale, most: int) -> list[float]:
    first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    for multiples in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,)):
        found = [times * 10.0**power for power in range(first, last + 1) for times in multiples]
        found = [value for value in found if scale.low <= value <= scale.high]
        if len(found) <= most:
            break
    if len(found) > most:
        found = found[:: math.ceil(len(found) / most)]
    if len(found) >= 2:
        return found
    # Too short a range for powers of ten: round steps do.
    return ticks(replace(scale, logarithmic=False), most)


def _step(least: float) -> float:
    """The round number at or above `least`."""
    power = 10.0 ** math.floor(math.log10(max(least, SMALLEST)))
    return next((times * power for times in (1, 2, 5) if times * power >= least * (1 - 1e-9)), 10 * power)
