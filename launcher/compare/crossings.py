"""Where, along a sweep, the GPU begins to pay: in seconds of training, and in dollars a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from launcher.compare.figures import elapsed_s, spread, usd_of
from launcher.compare.ratios import ratio
from launcher.comparison import Crossing, LegResult, SweepPoint, Trial
from launcher.domain import Device

Figure = Callable[[LegResult], Callable[[Trial], float | None]]
"""Of a leg, what is read off its trials."""


def crossings(legs: Sequence[LegResult]) -> tuple[Crossing, ...]:
    """In seconds and in dollars, for each setting that is swept, and each set of legs that are alike in all else.

    Only values that both devices have done count; a curve of fewer than two has no crossing. Where several machines of
    a device have done a value, the quicker one stands for it in seconds, the cheaper one in dollars.
    """
    settings = swept(legs)
    return tuple(found for setting in settings for found in _along(legs, setting, [*settings]))


def swept(legs: Sequence[LegResult]) -> tuple[str, ...]:
    """The settings with several values, all of them numbers, without those that only go along with one before them."""
    names = dict.fromkeys(name for leg in legs for name, _ in leg.leg.settings)
    found: list[str] = []
    for name in names:
        values = {_value(leg, name) for leg in legs}
        if len(values) > 1 and None not in values and not any(_follows(legs, name, other) for other in found):
            found.append(name)
    return tuple(found)


def _follows(legs: Sequence[LegResult], name: str, other: str) -> bool:
    """Whether the one setting is known as soon as the other is."""
    both = {(dict(leg.leg.settings).get(other), dict(leg.leg.settings).get(name)) for leg in legs}
    return len(both) == len({each for each, _ in both})


def _along(legs: Sequence[LegResult], setting: str, settings: Sequence[str]) -> list[Crossing]:
    others = [name for name in settings if name != setting]
    found = []
    for series in dict.fromkeys(_series(leg, others) for leg in legs):
        alike = [leg for leg in legs if _series(leg, others) == series]
        for what in ("seconds", "usd"):
            points = curve(alike, setting, what)
            if len(points) > 1:
                found.append(crossing(setting, what, points, series))
    return found


def curve(legs: Sequence[LegResult], setting: str, what: str) -> tuple[SweepPoint, ...]:
    """Both devices' figures at each value of the setting, by rising value."""
    values = sorted({value for leg in legs if (value := _value(leg, setting)) is not None})
    figure = _usd if what == "usd" else _training_s if _all_tell(legs) else _elapsed_s
    points = (_point(value, [leg for leg in legs if _value(leg, setting) == value], what, figure) for value in values)
    return tuple(point for point in points if point is not None)


def crossing(setting: str, what: str, points: Sequence[SweepPoint], series: str = "") -> Crossing:
    """Where the advantage passes 1, between two points, by interpolation of the logarithms of value and advantage.

    The advantage of a fixed overhead against work that grows with the setting is nearly a power of it, which is a
    straight line there. Where the trials disagree on where it lies, or it passes 1 more than once, that is said.
    """
    changes = _changes(points, lambda point: point.advantage)
    best = _changes(points, lambda point: point.most)
    worst = _changes(points, lambda point: point.least)
    if not changes:
        return _no_crossing(setting, what, points, series, least=_first(best), most=_first(worst))
    value, above = changes[0]
    lows = sorted(where for where in (_first(best), _first(worst)) if where is not None)
    return Crossing(
        setting=setting,
        what=what,
        value=value,
        least=_first(best) if above else _first(worst),
        most=_first(worst) if above else _first(best),
        above=above,
        uncertain=_doubt(changes, lows, points),
        series=series,
        points=tuple(points),
    )


def _no_crossing(
    setting: str, what: str, points: Sequence[SweepPoint], series: str, *, least: float | None, most: float | None
) -> Crossing:
    ahead = "gpu" if points[0].advantage > 1 else "cpu"
    within = [point for point in points if point.least <= 1 <= point.most]
    doubt = ""
    if within:
        doubt = f"at {_values(within)} the trials disagree on who is ahead"
    elif all(point.cpu.count == 1 for point in points):
        doubt = "each was measured once, so that nothing is known of the spread"
    return Crossing(
        setting=setting,
        what=what,
        value=None,
        always=ahead,
        least=least,
        most=most,
        uncertain=doubt,
        series=series,
        points=tuple(points),
    )


def _doubt(changes: Sequence[tuple[float, bool]], ends: Sequence[float], points: Sequence[SweepPoint]) -> str:
    """Why the crossing may lie elsewhere; empty where the trials agree on it."""
    if len(changes) > 1:
        return f"the lead changes {len(changes)} times, at {', '.join(f'{where:.4g}' for where, _ in changes)}"
    if all(min(point.cpu.count, point.gpu.count) == 1 for point in points):
        return "each was measured once, so that nothing is known of the spread"
    if len(ends) < 2:
        return "by the trials' spread it may lie outside of the range"
    within = [point for point in points if point.least <= 1 <= point.most]
    if within:
        return f"at {_values(within)} the trials disagree on who is ahead: it lies from {ends[0]:.4g} to {ends[-1]:.4g}"
    return ""


def _changes(points: Sequence[SweepPoint], of: Callable[[SweepPoint], float]) -> list[tuple[float, bool]]:
    """Where the figure passes 1, and whether it rises there; a point at exactly 1 belongs to what comes before it."""
    found = []
    for one, other in pairwise(points):
        if (of(one) > 1) != (of(other) > 1):
            found.append((_between(one.at, of(one), other.at, of(other)), of(other) > 1))
    return found


def _between(from_at: float, from_value: float, to_at: float, to_value: float) -> float:
    """Where a line through both, in logarithms, is at 1; the values lie on both sides of it, or one of them on it."""
    start, end = math.log(from_value), math.log(to_value)
    share = start / (start - end)
    if from_at <= 0:  # a sweep from 0 on has no logarithm: a straight line
        return from_at + share * (to_at - from_at)
    found = math.exp(math.log(from_at) + share * (math.log(to_at) - math.log(from_at)))
    return min(max(found, from_at), to_at)


def _point(value: float, legs: Sequence[LegResult], what: str, figure: Figure) -> SweepPoint | None:
    best: dict[Device, LegResult] = {}
    for leg in legs:
        found = spread(figure(leg)(trial) for trial in leg.done)
        if found and found.least > 0 and found.median < _median_of(best.get(leg.leg.device), figure):
            best[leg.leg.device] = leg
    if len(best) < 2:
        return None
    cpu, gpu = best[Device.CPU], best[Device.GPU]
    advantage = ratio(cpu, gpu, what, figure(cpu), figure(gpu))
    cpus, gpus = (spread(figure(leg)(trial) for trial in leg.done) for leg in (cpu, gpu))
    if advantage is None or cpus is None or gpus is None:
        return None
    return SweepPoint(
        at=value, cpu=cpus, gpu=gpus, advantage=advantage.value, least=advantage.least, most=advantage.most
    )


def _median_of(leg: LegResult | None, figure: Figure) -> float:
    found = spread(figure(leg)(trial) for trial in leg.done) if leg else None
    return found.median if found else math.inf


def _all_tell(legs: Sequence[LegResult]) -> bool:
    """Whether the seconds of the training alone are known everywhere: a curve is of one kind of seconds."""
    return all(trial.train_s is not None for leg in legs for trial in leg.done)


def _training_s(_: LegResult) -> Callable[[Trial], float | None]:
    return lambda trial: trial.train_s


def _elapsed_s(_: LegResult) -> Callable[[Trial], float | None]:
    return elapsed_s


def _usd(leg: LegResult) -> Callable[[Trial], float | None]:
    def usd(trial: Trial) -> float | None:
        seconds = elapsed_s(trial)
        return None if seconds is None else usd_of(seconds, leg.price_usd_per_hour)

    return usd


def _value(leg: LegResult, setting: str) -> float | None:
    """The leg's value of the setting, where it is a finite number."""
    text = dict(leg.leg.settings).get(setting)
    try:
        value = math.nan if text is None else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _series(leg: LegResult, others: Sequence[str]) -> str:
    """What the leg shares with others of its curve, in words."""
    told = (f"{name}={value}" for name, value in leg.leg.settings if name in others)
    return " ".join(filter(None, (leg.leg.floatx, leg.leg.backend, *told)))


def _first(changes: Sequence[tuple[float, bool]]) -> float | None:
    return changes[0][0] if changes else None


def _values(points: Sequence[SweepPoint]) -> str:
    return ", ".join(f"{point.at:g}" for point in points)
