"""How far to go along a direction: far enough to be worth it, not so far that the cost rises again.

Two rules (Nocedal and Wright 2006, chapter 3), with f the cost along the direction and f' its slope:

    Armijo        f(step) <= f(0) + c1 * step * f'(0)
    strong Wolfe  the same, and |f'(step)| <= c2 * |f'(0)|
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from jobs.second_order.method import ValueAndGradient, Vector

SUFFICIENT = 1e-4  # c1
MOST_TRIES = 30


@dataclass(frozen=True, slots=True)
class Point:
    """A place along the line."""

    step: float
    value: float
    slope: float
    gradient: Vector


@dataclass(slots=True)
class Line:
    """The cost along `direction` from `theta`."""

    value_and_gradient: ValueAndGradient
    theta: Vector
    direction: Vector
    origin: Point = field(init=False)
    evaluations: int = 0

    def start(self, value: float, gradient: Vector) -> Line:
        """Say what is known at `theta`."""
        self.origin = Point(0.0, value, float(gradient @ self.direction), gradient)
        return self

    def at(self, step: float) -> Point:
        """Compute it there; a cost that is no number counts as infinite."""
        self.evaluations += 1
        value, gradient = self.value_and_gradient(self.end(step))
        slope = float(gradient @ self.direction)
        if not (math.isfinite(value) and math.isfinite(slope)):
            return Point(step, math.inf, math.inf, gradient)
        return Point(step, float(value), slope, gradient)

    def end(self, step: float) -> Vector:
        """The weights there."""
        return self.theta + step * self.direction

    def lowers_enough(self, point: Point) -> bool:
        """Armijo's rule, and lower at all, which rounding may make two things: else a method might never end."""
        return (
            point.value < self.origin.value
            and point.value <= self.origin.value + SUFFICIENT * point.step * self.origin.slope
        )


def armijo(line: Line) -> Point | None:
    """The whole step, or the first of its halves, quarters, .. that Armijo's rule takes; None: none was."""
    step = 1.0
    for _ in range(MOST_TRIES):
        point = line.at(step)
        if line.lowers_enough(point):
            return point
        step /= 2
    return None


def strong_wolfe(line: Line, first_step: float, curvature: float) -> Point | None:
    """A point that keeps both rules, c2 = `curvature`; where rounding lets none be found, one that is lower, or None.

    The step doubles until an interval surely holds such a point (Nocedal and Wright, algorithm 3.5).
    """
    before, step = line.origin, first_step
    for _ in range(MOST_TRIES):
        point = line.at(step)
        if not line.lowers_enough(point) or (before.step > 0 and point.value >= before.value):
            return _zoom(line, before, point, curvature)
        if abs(point.slope) <= -curvature * line.origin.slope:
            return point
        if point.slope >= 0:
            return _zoom(line, point, before, curvature)
        before, step = point, 2 * step
    return before


def _zoom(line: Line, low: Point, high: Point, curvature: float) -> Point | None:
    """Shrink the interval between the lower end and the other one (algorithm 3.6)."""
    for _ in range(MOST_TRIES):
        step = _between(low, high)
        if step in (low.step, high.step):
            break
        point = line.at(step)
        if not line.lowers_enough(point) or point.value >= low.value:
            high = point
            continue
        if abs(point.slope) <= -curvature * line.origin.slope:
            return point
        if point.slope * (high.step - low.step) >= 0:
            high = low
        low = point
    return low if low.value < line.origin.value else None


def _between(low: Point, high: Point) -> float:
    """Where a cubic through both ends has its minimum, but no nearer to an end than a tenth of the interval."""
    width = high.step - low.step
    share = 0.5
    if math.isfinite(high.value):
        first = low.slope + high.slope - 3 * (high.value - low.value) / width
        root = first * first - low.slope * high.slope
        if root >= 0:
            second = math.copysign(math.sqrt(root), width)
            divisor = high.slope - low.slope + 2 * second
            share = 1 - (high.slope + second - first) / divisor if divisor else 0.5
    return low.step + width * min(max(share, 0.1), 0.9)
