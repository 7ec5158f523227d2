"""Ratios, parities and crossings as sentences, for the terminal and the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launcher.render.figures import NONE, clean, figure, tick, times

if TYPE_CHECKING:
    from launcher.comparison import Comparison, Crossing, Parity, Ratio


def under_title(comparison: Comparison) -> str:
    """Which comparison, of when, of how many legs."""
    repeats = "once each" if comparison.repeats == 1 else f"{comparison.repeats} times each, medians"
    target = "" if comparison.target is None else f"; target error {tick(comparison.target)}"
    legs = "1 leg" if len(comparison.legs) == 1 else f"{len(comparison.legs)} legs"
    return f"{clean(comparison.comparison_id)}, {comparison.created_at:%Y-%m-%d %H:%M}: {legs}, {repeats}{target}"


def ratio_words(ratio: Ratio) -> str:
    """`gpu-float32 is 17.5x as fast as cpu-float32 (elapsed; 17.1 to 17.9)`."""
    subject, other = ratio_sides(ratio)
    if not math.isfinite(ratio.value) or ratio.value <= 0:
        return f"{subject} against {other} ({clean(ratio.what)}): not measured"
    said = "costs {} as much as" if ratio.what == "usd" else "is {} as fast as"
    around = [] if ratio.what == "usd" else [clean(ratio.what)]
    around += [ratio_spread(ratio)] if ratio_spread(ratio) else []
    around += ["measured once"] if ratio.count == 1 else []
    return f"{subject} {said.format(times(ratio.value))} {other}" + (f" ({', '.join(around)})" if around else "")


def pair_words(ratios: Sequence[Ratio]) -> list[str]:
    """A line for each pair of legs: how many times as fast, by what, and how many times as dear."""
    pairs: dict[tuple[str, str], list[Ratio]] = {}
    for ratio in ratios:
        pairs.setdefault(ratio_sides(ratio), []).append(ratio)
    lines = []
    for (subject, other), found in pairs.items():
        epochs = any(each.what == "epoch" for each in found)
        # Samples a second are the same told the other way round.
        told = [_short(each) for each in found if not (epochs and each.what == "samples")]
        lines.append(f"{subject} against {other}: {', '.join(told)}")
    return lines


def _short(ratio: Ratio) -> str:
    around = f" ({ratio_spread(ratio)})" if ratio_spread(ratio) else ""
    said = {
        "train": "as fast in training",
        "elapsed": "as fast in all",
        "epoch": "as fast an epoch",
        "samples": "the samples/s",
        "usd": "the dollars",
    }.get(ratio.what, clean(ratio.what))
    return f"{times(ratio.value)} {said}{around}"


def ratio_sides(ratio: Ratio) -> tuple[str, str]:
    """Of whom `value` tells how many times as fast, or as dear, it is; and against whom."""
    numerator, denominator = clean(ratio.numerator), clean(ratio.denominator)
    return (numerator, denominator) if ratio.what in {"usd", "samples"} else (denominator, numerator)


def ratio_spread(ratio: Ratio) -> str:
    """`17.1 to 17.9`; empty where there is none."""
    if not (math.isfinite(ratio.least) and math.isfinite(ratio.most)) or ratio.least == ratio.most:
        return ""
    return f"{figure(ratio.least)} to {figure(ratio.most)}"


def parity_words(parity: Parity) -> str:
    """One line: who against whom, how far apart, within which tolerance."""
    who = f"{clean(parity.leg)} against {clean(parity.reference)}"
    if parity.bytes_equal:
        return f"{who}: the weights are equal to the last bit"
    told = [
        f"{what} differ by {figure(value)} ({allowed(tolerance)} allowed)"
        for what, value, tolerance in (
            ("costs", parity.largest_cost_difference, parity.tolerance),
            ("weights", parity.largest_weight_difference, parity.weight_tolerance),
        )
        if value is not None and figure(value) != NONE
    ]
    steps = "" if parity.equal_steps else "; they ended with different numbers of steps"
    if not told:
        return f"{who}: nothing could be compared{steps}"
    return f"{who}: {', '.join(told)}{steps}"


def allowed(tolerance: float) -> str:
    """Of a tolerance, two figures."""
    return figure(tolerance, digits=2)


def crossing_words(crossing: Crossing) -> str:
    """From where on the GPU pays, or that it nowhere does, and why that is not certain."""
    said = f"{crossing_heading(crossing)}: {crossing_found(crossing)}"
    return f"{said}; uncertain: {clean(crossing.uncertain)}" if crossing.uncertain else said


def crossing_heading(crossing: Crossing) -> str:
    """`seconds, float32`."""
    what = "dollars" if crossing.what == "usd" else clean(crossing.what)
    return f"{what}, {clean(crossing.series)}" if crossing.series else what


def crossing_found(crossing: Crossing) -> str:
    """Where, without the doubts."""
    setting, value = clean(crossing.setting), crossing.value
    if value is not None and math.isfinite(value):
        side = "from" if crossing.above else "up to"
        ends = [end for end in (crossing.least, crossing.most) if end is not None and math.isfinite(end)]
        span = f" ({figure(min(ends))} to {figure(max(ends))})" if len(ends) == 2 and ends[0] != ends[1] else ""
        return f"the GPU pays {side} {setting} ≈ {figure(value)}{span}"
    if crossing.always:
        return f"the {clean(crossing.always).upper()} is ahead over the whole range of {setting}"
    return f"no crossing was found over {setting}"
