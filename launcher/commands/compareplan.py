"""The plan of a comparison: a plan for each of its runs, one text, one price, one question."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from launcher import render
from launcher.commands import planview
from launcher.domain import Device, FloatX

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.compare.groups import Group
    from launcher.domain import ComparisonWish, JobSpec, Plan

SHOWN_LEGS = 16
WITHOUT_BFLOAT16 = frozenset({"t4", "t4g", "v100", "m60", "k80", "k520", "p4", "p100"})
"""NVIDIA GPUs before compute capability 8.0 (CUDA C++ Programming Guide, "Arithmetic Instructions")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One run with its plan."""

    group: Group
    plan: Plan
    cloud: Aws | None
    """Of AWS, in the plan's region; `None`: the machine is the user's own."""

    @property
    def max_cost_usd(self) -> float:
        """The most that this run can cost."""
        return self.plan.max_cost_usd if self.group.place.rented else 0.0


def all_of(found: Sequence[Group], plan: Callable[[Group], Planned]) -> tuple[Planned, ...]:
    """The plans, made side by side; raises what the first of them raises."""
    with ThreadPoolExecutor(min(4, len(found))) as pool:
        return tuple(pool.map(plan, found))


def max_cost_usd(planned: Sequence[Planned]) -> float:
    """The most that all runs together can cost."""
    return sum(each.max_cost_usd for each in planned)


def doubts(spec: JobSpec, asked: ComparisonWish, planned: Sequence[Planned]) -> tuple[str, ...]:
    """What should be known of the legs before money or hours go into them."""
    every = [leg for each in planned for leg in each.group.legs]
    cpu_halves = [each.leg.name for each in every if (each.leg.device, each.leg.floatx) == (Device.CPU, FloatX.FLOAT16)]
    said = []
    if cpu_halves:
        said.append(
            f"{', '.join(cpu_halves)}: processors only emulate float16, many times slower than float32; bfloat16 is"
            " their half type"
        )
    for each in planned:
        kinds = {offer.gpu.kind for offer in each.plan.offers if offer.gpu} & WITHOUT_BFLOAT16
        halves = [leg.leg.name for leg in each.group.legs if leg.leg.device is Device.GPU]
        if kinds and any("bfloat16" in name for name in halves):
            said.append(f"{', '.join(sorted(kinds))} has no bfloat16 arithmetic: there it is emulated by float32")
    if asked.backends and spec.script and "GPURUN_BACKEND" not in spec.script and "-m jobs" not in spec.script:
        said.append("the script does not look at GPURUN_BACKEND: the legs of all backends may do the same")
    return tuple(said)


def text(planned: Sequence[Planned], warnings: Sequence[str], *, repeats: int) -> str:
    """The legs, each run's best pools, and what all of it costs at most."""
    count = sum(len(each.group.legs) for each in planned)
    times = "once each" if repeats == 1 else f"{repeats} times each, in turn"
    lines = [f"{count} legs, {times}, in {'1 run' if len(planned) == 1 else f'{len(planned)} runs'}"]
    for each in planned:
        names = [leg.leg.name for leg in each.group.legs]
        more = f" and {len(names) - SHOWN_LEGS} more" if len(names) > SHOWN_LEGS else ""
        lines += ["", f"{each.group.spec.name}: {', '.join(names[:SHOWN_LEGS])}{more}"]
        lines.append(planview.text(_without_legs(each.group.spec), each.plan, rows=3))
    lines += [f"warning: {warning}" for warning in warnings]
    if len(planned) > 1:
        lines += ["", f"together at most {max_cost_usd(planned):.2f} USD"]
    return "\n".join(lines)


def show(planned: Sequence[Planned], warnings: Sequence[str], *, repeats: int, as_json: bool) -> None:
    """Tell it on standard error, or as a `plan` event for each run."""
    if not as_json:
        sys.stderr.write(text(planned, warnings, repeats=repeats) + "\n")
        return
    for each in planned:
        render.print_json(
            {
                "event": "plan",
                "name": each.group.spec.name,
                "place": each.group.place.name,
                "legs": [leg.leg for leg in each.group.legs],
                "repeats": repeats,
                "offers": each.plan.offers,
                "hours": each.plan.hours,
                "max_cost_usd": each.max_cost_usd,
                "warnings": [*each.plan.warnings, *warnings],
            }
        )


def _without_legs(spec: JobSpec) -> JobSpec:
    return replace(spec, legs=())
