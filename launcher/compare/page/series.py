"""What the legs have to draw: their course over seconds and dollars, and where their time went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from launcher.compare.page.palette import Style, style
from launcher.compare.page.scale import drawable
from launcher.comparison import LegResult, Point, Trial
from launcher.render.figures import clean
from launcher.render.legcells import middle_trial

MOST_POINTS = 240
"""Of one line: more than that lie on one another."""
MOST_OTHERS = 24
"""Lines of further repeats, drawn faintly: more would be a fog."""

Pair = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a chart."""

    name: str
    look: Style
    points: tuple[Pair, ...]
    faint: bool = False
    """A further repeat of the leg, behind the one that is labelled."""


def error_over(results: Sequence[LegResult], x: Callable[[LegResult, Point], float | None]) -> tuple[str, list[Series]]:
    """What is drawn (`error`; where no job told one, `cost`), and each leg's line, the further repeats before it."""
    for what in ("error", "cost"):
        found = [each for index, result in enumerate(results) for each in _lines(index, result, what, x)]
        if found:
            kept = [each for each in found if not each.faint]
            others = [each for each in found if each.faint]
            return what, [*(others if len(others) <= MOST_OTHERS else []), *kept]
    return "error", []


def seconds_of(_: LegResult, point: Point) -> float | None:
    """When it was told, since the trial began."""
    return point.at_s


def dollars_of(result: LegResult, point: Point) -> float | None:
    """What it had cost by then; `None` on a machine that costs nothing."""
    price = result.price_usd_per_hour
    return point.at_s * price / 3600 if drawable(price) and price > 0 else None


def _lines(index: int, result: LegResult, what: str, x: Callable[[LegResult, Point], float | None]) -> list[Series]:
    look, middle = style(index, result.leg.device), middle_trial(result)
    lines = []
    for trial in result.done:
        if points := _points(result, trial, what, x):
            faint = trial is not middle
            lines.append(Series(name=clean(result.leg.name), look=look, points=points, faint=faint))
    return lines


def _points(
    result: LegResult, trial: Trial, what: str, x: Callable[[LegResult, Point], float | None]
) -> tuple[Pair, ...]:
    told = ((x(result, point), point.error if what == "error" else point.cost) for point in trial.points)
    return thinned(sorted((a, b) for a, b in told if a is not None and b is not None and _both(a, b)))


def _both(a: float, b: float) -> bool:
    return drawable(a) and drawable(b) and a >= 0


def thinned(points: Sequence[Pair], most: int = MOST_POINTS) -> tuple[Pair, ...]:
    """The same line with fewer points: of each stretch its lowest and its highest, and both ends of the whole."""
    if len(points) <= most:
        return tuple(points)
    size = len(points) / (most // 2)
    kept = {0, len(points) - 1}
    for part in range(most // 2):
        stretch = range(int(part * size), min(int((part + 1) * size), len(points)))
        if stretch:
            kept.add(min(stretch, key=lambda index: points[index][1]))
            kept.add(max(stretch, key=lambda index: points[index][1]))
    return tuple(points[index] for index in sorted(kept))


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Where the elapsed time of one trial went, in seconds; they add up to it."""

    ready_s: float
    """Imports and data."""
    warm_up_s: float
    """Compilation, and the first use of the device."""
    train_s: float
    """At the steady pace."""
    rest_s: float
    """Tests, weights, the end; all of it where the job tells nothing."""

    @property
    def all_s(self) -> float:
        """Elapsed time."""
        return self.ready_s + self.warm_up_s + self.train_s + self.rest_s


def phases(result: LegResult) -> Phases | None:
    """Of the leg's middle trial; `None` where it has no elapsed time."""
    trial = middle_trial(result)
    if trial is None or trial.usage is None or not drawable(trial.usage.elapsed_s):
        return None
    left = max(trial.usage.elapsed_s, 0.0)
    training = _within(trial.train_s, left)
    warm_up = _within(trial.warm_up_s, training)
    # Its first figure may lie within the training that the job tells of: that part is no getting ready.
    ready = _within(trial.ready_s, left - training)
    return Phases(ready_s=ready, warm_up_s=warm_up, train_s=training - warm_up, rest_s=left - training - ready)


def _within(value: float | None, most: float) -> float:
    return min(max(value, 0.0), most) if value is not None and drawable(value) else 0.0
