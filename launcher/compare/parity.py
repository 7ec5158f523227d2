"""Whether all legs computed the same: the cost at equal steps, and the weights at the end, against a reference leg.

**The reference** of a leg on the GPU is the CPU's with the same floatX, backend and settings, where there is one: what
a backend draws, such as dropout, hangs on both. That of all others is the leg on the CPU in float32 with the same
settings; where there is none the CPU's finest floatX, else the finest.

**The tolerances.** Rounding differs between devices, backends and types from the first step on, and training
multiplies it. Analysis gives no useful bound: that for a sum of n terms grows with n times the machine epsilon
(Higham, Accuracy and Stability of Numerical Algorithms, 2002, chapters 3 and 4), and Adam divides by the gradient's
own size, which makes a rounding error near zero a whole step. So they are measured (docs/compare.md, Parity): what
right trainings with one seed come to, times a margin, and below what another seed comes to. Errors that add up without
a direction grow with the square root of their number, and so do the tolerances beyond `STEPS`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.comparison import LegResult, Parity, Trial
from launcher.domain import Device, FloatX, RunId

if TYPE_CHECKING:
    from launcher.weights.arrays import Array

FINENESS = (FloatX.FLOAT16, FloatX.BFLOAT16, FloatX.FLOAT32, FloatX.FLOAT64)
"""From the coarsest mantissa of a training to the finest; float16 has more digits than bfloat16, and far less range."""
TOLERANCES = {
    FloatX.FLOAT64: (1e-6, 1e-4),
    FloatX.FLOAT32: (2e-3, 1e-2),
    FloatX.BFLOAT16: (4e-2, 2e-1),
    FloatX.FLOAT16: (4e-2, 2e-1),
}
"""Of the cost and of the weights, for up to `STEPS` steps; by the coarser of the two types."""
STEPS = 1_000
LOOSEST = (0.1, 0.5)
"""However many steps there are: unrelated weights differ by 1.4."""
NEGLIGIBLE = 0.01
"""Of the reference's largest cost: what is smaller is compared as if it were as large, since it is mostly rounding."""
LARGEST_BYTES = 2 << 30
"""Of a weights file: both are held in memory."""
MOST_SAID = 4


def parities(legs: Sequence[LegResult], folders: Mapping[RunId, Path]) -> tuple[Parity, ...]:
    """Every leg that is done against the reference among those with its settings; `folders`: the runs' results.

    Never raises for what lies in the folders. Weights are opened by `launcher.weights`, which runs nothing of theirs.
    """
    found = []
    for settings in dict.fromkeys(leg.leg.settings for leg in legs):
        alike = [leg for leg in legs if leg.leg.settings == settings and leg.done]
        held: dict[str, _Weights] = {}
        for leg in alike:
            reference = _reference(leg, alike)
            if reference is not None:
                name = reference.leg.name
                held[name] = held.get(name) or _Weights(reference, folders)
                found.append(parity(leg, reference, held.get(leg.leg.name) or _Weights(leg, folders), held[name]))
    return tuple(found)


def parity(leg: LegResult, reference: LegResult, weights: _Weights, held: _Weights) -> Parity:
    """One leg against another: the first trial of each that is done."""
    trial, other = leg.done[0], reference.done[0]
    coarser = min(leg.leg.floatx, reference.leg.floatx, key=FINENESS.index)
    tolerance, weight_tolerance = tolerances(coarser, max(trial.steps or 0, other.steps or 0))
    exceeded: list[str] = []
    untold: list[str] = []
    equal_steps = trial.steps == other.steps or trial.steps is None or other.steps is None
    if not equal_steps:
        exceeded.append(f"it did {trial.steps:,} steps, {reference.leg.name} {other.steps:,}")
    exceeded += _divergence(trial, other, reference.leg.name)
    cost, step = cost_difference(trial, other)
    if cost is None:
        untold.append("the costs are not compared: the two have no step in common that tells it")
    elif cost > tolerance:
        exceeded.append(f"the cost at step {step:,} differs by {cost:.2g}, more than {tolerance:g}")
    weight, same = None, False
    if equal_steps:
        weight, same, where = _compared(weights, held, untold, exceeded)
        if weight is not None and weight > weight_tolerance:
            exceeded.append(f"the weights of {where} differ by {weight:.2g}, more than {weight_tolerance:g}")
    else:
        untold.append("the weights are not compared: they are of different numbers of steps")
    return Parity(
        leg=leg.leg.name,
        reference=reference.leg.name,
        tolerance=tolerance,
        weight_tolerance=weight_tolerance,
        largest_cost_difference=cost,
        largest_weight_difference=weight,
        exceeded=tuple(exceeded),
        untold=tuple(untold),
        equal_steps=equal_steps,
        bytes_equal=same,
    )


def tolerances(coarser: FloatX, steps: int) -> tuple[float, float]:
    """Of the cost and of the weights after so many steps."""
    growth = max(1.0, math.sqrt(steps / STEPS))
    cost, weights = (min(bound * growth, loosest) for bound, loosest in zip(TOLERANCES[coarser], LOOSEST, strict=True))
    return cost, weights


def cost_difference(trial: Trial, reference: Trial) -> tuple[float | None, int]:
    """The largest relative difference over the steps that both tell, and its step; `None` where there is no such."""
    expected = {point.step: point.cost for point in reference.points if point.cost is not None}
    floor = NEGLIGIBLE * max((abs(cost) for cost in expected.values()), default=0.0)
    found = [
        (abs(point.cost - cost) / size if (size := max(abs(cost), abs(point.cost), floor)) else 0.0, point.step)
        for point in trial.points
        if point.cost is not None and (cost := expected.get(point.step)) is not None
    ]
    return max(found, default=(None, 0), key=lambda each: each[0] or 0.0)


def weight_difference(arrays: Mapping[str, Array], expected: Mapping[str, Array]) -> tuple[float, str]:
    """The largest relative difference over the arrays, and its array; infinite for a number that only one has.

    Raises `ValueError`, in plain words, for other names, other shapes, or arrays that are no numbers.
    """
    import numpy as np  # noqa: PLC0415 - a tenth of a second that no other figure needs

    _check_alike(arrays, expected)
    with np.errstate(all="ignore"):
        return _largest(arrays, expected)


def _largest(arrays: Mapping[str, Array], expected: Mapping[str, Array]) -> tuple[float, str]:
    import numpy as np  # noqa: PLC0415 - a tenth of a second that no other figure needs

    worst, where = 0.0, next(iter(sorted(expected)), "")
    for name in sorted(expected):
        one, other = (np.asarray(values[name]).astype(np.float64).ravel() for values in (arrays, expected))
        if not np.array_equal(np.isfinite(one), np.isfinite(other)):
            return math.inf, name
        finite = np.isfinite(other)
        scale = max(float(np.abs(other[finite]).max(initial=0.0)), float(np.abs(one[finite]).max(initial=0.0)))
        if scale == 0:
            continue
        # Scaled first: squares of large numbers would overflow.
        one, other = one[finite] / scale, other[finite] / scale
        norm = max(float(np.linalg.norm(one)), float(np.linalg.norm(other)))
        found = float(np.linalg.norm(one - other)) / norm
        if found > worst:
            worst, where = found, name
    return worst, where


class _Weights:
    """A leg's weights, opened when they are asked for, once; a leg that is a reference is asked by every other."""

    def __init__(self, leg: LegResult, folders: Mapping[RunId, Path]) -> None:
        self.name = leg.leg.name
        self._trial = leg.done[0]
        self._folder = folders.get(leg.run_id) if leg.run_id is not None else None
        self._found: Mapping[str, Array] | str | None = None

    def load(self) -> Mapping[str, Array] | str:
        """The arrays; or why there are none, in plain words."""
        if self._found is None:
            self._found = self._load()
        return self._found

    def _load(self) -> Mapping[str, Array] | str:
        from launcher import weights  # noqa: PLC0415 - numpy, a tenth of a second
        from launcher.errors import WeightsError  # noqa: PLC0415 - likewise

        if not self._trial.weights or self._folder is None:
            return f"{self.name} brought none home"
        path = self._folder / self._trial.weights
        try:
            if path.stat().st_size > LARGEST_BYTES:
                return f"{self.name}'s are larger than {LARGEST_BYTES >> 30} GiB"
            return weights.load(path)
        except (WeightsError, OSError) as fault:
            return f"{self.name}'s cannot be opened ({fault})"


def _compared(
    weights: _Weights, held: _Weights, untold: list[str], exceeded: list[str]
) -> tuple[float | None, bool, str]:
    """The largest difference, whether all is the same to the bit, and the array where it is largest."""
    import numpy as np  # noqa: PLC0415 - a tenth of a second

    arrays, expected = weights.load(), held.load()
    for found in (arrays, expected):
        if isinstance(found, str):
            untold.append(f"the weights are not compared: {found}")
            return None, False, ""
    assert not isinstance(arrays, str)  # noqa: S101 - what the loop saw
    assert not isinstance(expected, str)  # noqa: S101 - likewise
    try:
        worst, where = weight_difference(arrays, expected)
    except ValueError as fault:
        exceeded.append(str(fault))
        return None, False, ""
    same = all(
        arrays[name].dtype == expected[name].dtype and np.asarray(arrays[name]).tobytes() == expected[name].tobytes()
        for name in expected
    )
    if math.isinf(worst):
        exceeded.append(f"the weights of {where} are NaN or infinite in one of the two")
        return None, False, where
    return worst, same, where


def _check_alike(arrays: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    only, lacking = sorted(arrays.keys() - expected.keys()), sorted(expected.keys() - arrays.keys())
    if only or lacking:
        said = [f"lacks {_listed(lacking)}" if lacking else "", f"has {_listed(only)} too many" if only else ""]
        raise ValueError(f"the weights have other names: it {' and '.join(filter(None, said))}")
    for name in sorted(expected):
        one, other = arrays[name], expected[name]
        if one.shape != other.shape:
            raise ValueError(f"the weights of {name:.60} have the shape {one.shape}, expected {other.shape}")
        if {one.dtype.kind, other.dtype.kind} & set("SUc"):
            raise ValueError(f"the weights of {name:.60} are no real numbers")


def _divergence(trial: Trial, reference: Trial, name: str) -> Iterator[str]:
    here, there = trial.diverged_at_step, reference.diverged_at_step
    if here is not None and there is None:
        yield f"its cost is NaN or infinite from step {here:,} on, that of {name} is not"
    elif there is not None and here is None:
        yield f"the cost of {name} is NaN or infinite from step {there:,} on, its own is not"


def _reference(leg: LegResult, alike: Sequence[LegResult]) -> LegResult | None:
    """What a leg is compared to; `None`: it is what others are compared to, or alone."""
    if leg.leg.device is Device.GPU:
        same = (leg.leg.floatx, leg.leg.backend)
        twins = [
            each for each in alike if each.leg.device is Device.CPU and (each.leg.floatx, each.leg.backend) == same
        ]
        if twins:
            return twins[0]
    best = min(alike, key=_rank)
    return None if best is leg else best


def _rank(leg: LegResult) -> tuple[bool, bool, int]:
    """The smallest is the reference."""
    cpu = leg.leg.device is Device.CPU
    plain = cpu and leg.leg.floatx is FloatX.FLOAT32
    return not plain, not cpu, -FINENESS.index(leg.leg.floatx)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:60] for name in names[:MOST_SAID])
    return shown if len(names) <= MOST_SAID else f"{shown} and {len(names) - MOST_SAID} more"
