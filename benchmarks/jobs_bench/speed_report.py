"""The tables of the speed: goals, every variant, the floors."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jobs_bench.rows import BFLOAT16, FIT, FLOAT32, ROWS, Row
from jobs_bench.speed import FLOOR, KIND, VARIANTS, steady_s
from jobs_bench.store import Line, latest, problems
from report.table import seconds, table

OURS, TORCH = "ours", "torch"

NOTES = """\
Seconds of an epoch: in each round the median of those after the first, in which things are compiled; then the median
of the rounds. Each variant runs in a process of its own, in another order in each round: the same network, optimiser,
dropout and batches, float32 rows for `fit` and PyTorch. An epoch has its evaluations in it: on 1,000 rows after
batches 0, 10, 20 .. for the deck's network, else on 10,000 rows at its end. `fit` is Keras's on TensorFlow, with what
it does by default; ours is `python -m jobs train`, timed by what it writes; PyTorch is a plain loop over tensors.
Not slower than PyTorch: float32 against float32, and the better of the types against the better. The floor is what an
epoch's matrix products take by themselves, measured in the same run: by their own shapes (a convolution as the product
of its patches, which a direct one may beat), and all of them at the rate of a square one of 2,048 rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A variant on one row."""

    rounds_s: tuple[float, ...]  # seconds of an epoch, a number a round
    first_s: float | None  # the first epoch, beyond what the others take
    whole_s: float | None  # of the process
    error: float | None
    parameters: int | None
    problems: int

    @property
    def epoch_s(self) -> float | None:
        """The median."""
        return statistics.median(self.rounds_s) if self.rounds_s else None


def report(seen: list[Line]) -> str:
    """The tables; empty where nothing is measured."""
    rows = latest(seen, KIND)
    cells = [(ROWS[name], rows[name], summaries(rows[name])) for name in ROWS if name in rows]
    if not cells:
        return ""
    abouts = sorted({lines[-1]["about"] for _, lines, _ in cells})
    parts = [
        "## Jobs: speed",
        f"Made by `python benchmarks/training.py`. Measured on {' and on '.join(abouts)}.",
        NOTES,
        table(GOAL_HEADERS, [_goal_row(row, found) for row, _, found in cells]),
        "### Every variant",
        table(ALL_HEADERS, [words for row, lines, found in cells for words in _all_rows(row, lines, found)]),
        "### The floor",
        table(FLOOR_HEADERS, [words for row, lines, _ in cells for words in _floor_rows(row, lines)]),
        *_complaints(cells),
    ]
    return "\n\n".join(parts) + "\n"


def summaries(lines: list[Line]) -> dict[str, Summary]:
    """By variant."""
    found = {}
    for variant in VARIANTS:
        here = [each for each in lines if each["variant"] == variant]
        well = [each for each in here if "epochs_s" in each]
        if variant != FLOOR and here:
            found[variant] = Summary(
                rounds_s=tuple(steady_s(each["epochs_s"]) for each in well),
                first_s=_median(well, lambda each: each["epochs_s"][0] - steady_s(each["epochs_s"])),
                whole_s=_median(well, lambda each: each["whole_s"]),
                error=_median(well, lambda each: each["error"]),
                parameters=well[0]["parameters"] if well else None,
                problems=len({each["round"] for each in here} - {each["round"] for each in well}),
            )
    return found


def floors(lines: list[Line]) -> dict[str, tuple[float, float]]:
    """By type: seconds of an epoch's products, by their own shapes and at the rate of a square; the best round's."""
    found: dict[str, tuple[float, float]] = {}
    for each in lines:
        for floatx, here in each.get("floors", {}).items():
            own_s, square_s = found.get(floatx, (float("inf"), float("inf")))
            found[floatx] = (min(own_s, here["own_s"]), min(square_s, here["square_s"]))
    return found


def _median(lines: list[Line], value: Callable[[Line], Any]) -> float | None:
    return statistics.median(map(value, lines)) if lines else None


def _epoch_s(found: dict[str, Summary], who: str, *types: str) -> float | None:
    """The least of those that are there."""
    times = [found[name].epoch_s for floatx in types if (name := f"{who} {floatx}") in found]
    return min((each for each in times if each is not None), default=None)


GOAL_HEADERS = (
    *("row", "`fit`, s", "ours float32, s", "times `fit`", "ours bfloat16, s", "times `fit`", "goal", "met"),
    *("PyTorch float32, s", "bfloat16, s", "not slower (float32 / best)"),
)


def _goal_row(row: Row, found: dict[str, Summary]) -> list[str]:
    fit_s = _epoch_s(found, FIT.split()[0], FLOAT32)
    ours = {floatx: _epoch_s(found, OURS, floatx) for floatx in (FLOAT32, BFLOAT16)}
    theirs = {floatx: _epoch_s(found, TORCH, floatx) for floatx in (FLOAT32, BFLOAT16)}
    both = (FLOAT32, BFLOAT16)
    goals = [(row.goal, _epoch_s(found, OURS, *both))]
    if row.float32_goal:
        goals.append((row.float32_goal, ours[FLOAT32]))
    against = [(ours[FLOAT32], theirs[FLOAT32]), (_epoch_s(found, OURS, *both), _epoch_s(found, TORCH, *both))]
    return [
        row.title,
        seconds(fit_s),
        *(word for floatx in both for word in (seconds(ours[floatx]), _ratio(fit_s, ours[floatx]))),
        f"{row.goal:g}" + (f"; {row.float32_goal:g} in float32" if row.float32_goal else ""),
        "; ".join(_no_more(our_s, fit_s / goal if fit_s else None) for goal, our_s in goals),
        *(seconds(theirs[floatx]) for floatx in both),
        " / ".join(_no_more(*pair) for pair in against),
    ]


def _no_more(ours_s: float | None, limit_s: float | None) -> str:
    """Whether it holds that ours takes no more than that."""
    if ours_s is None or limit_s is None:
        return "-"
    return "yes" if ours_s <= limit_s else "**no**"


def _ratio(one_s: float | None, other_s: float | None) -> str:
    return f"{one_s / other_s:.1f}" if one_s and other_s else "-"


ALL_HEADERS = (
    *("row", "variant", "an epoch, s", "fastest", "slowest", "the first one's extra, s", "whole process, s"),
    *("times the floor", "times the square's", "parameters", "last test error"),
)


def _all_rows(row: Row, lines: list[Line], found: dict[str, Summary]) -> list[list[str]]:
    floor, words = floors(lines), []
    for variant, each in found.items():
        own_s, square_s = floor.get(variant.split()[1], (None, None))
        failed = f" (failed {each.problems} times)" if each.problems else ""
        words.append(
            [
                row.title,
                variant,
                seconds(each.epoch_s) + failed,
                *(seconds(pick(each.rounds_s, default=None)) for pick in (min, max)),
                seconds(each.first_s),
                seconds(each.whole_s),
                _ratio(each.epoch_s, own_s),
                _ratio(each.epoch_s, square_s),
                "-" if each.parameters is None else f"{each.parameters:,}",
                "-" if each.error is None else f"{each.error:.2%}",
            ]
        )
    return words


FLOOR_HEADERS = ("row", "GFLOP an epoch", "type", "own shapes, s", "GFLOP/s", "square, s", "GFLOP/s")


def _floor_rows(row: Row, lines: list[Line]) -> list[list[str]]:
    flops = next((each["flops"] for each in lines if "flops" in each), 0)
    return [
        [row.title, f"{flops / 1e9:.1f}", floatx, *(w for s in both for w in (seconds(s), f"{flops / s / 1e9:.0f}"))]
        for floatx, both in floors(lines).items()
    ]


def _complaints(cells: list[tuple[Row, list[Line], dict[str, Summary]]]) -> list[str]:
    """What makes the comparison worth less."""
    told = []
    for row, lines, found in cells:
        counts = {each.parameters for each in found.values() if each.parameters is not None}
        if len(counts) > 1:
            told.append(f"**{row.title}: the networks differ, they have {sorted(counts)} parameters.**")
        told += [f"**{row.title}, {each['variant']}: {each['problem']}**" for each in problems(lines)]
    return told
