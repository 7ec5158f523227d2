"""Which legs share a run, and that run's spec: one run for each place, all of its legs in turn on one machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from launcher.compare.legs import PlannedLeg
from launcher.compare.places import Place
from launcher.domain import ComparisonWish, Device, JobSpec, Limits, Requirements
from launcher.spec.values import slug

MIN_CPU_VCPUS = 4
MIN_CPU_MEMORY_BYTES = 8 << 30
"""A CPU that a GPU is held against should be one that people would train on."""
_NAME_LIMIT = 41


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One run of a comparison."""

    place: Place
    legs: tuple[PlannedLeg, ...]
    spec: JobSpec

    @property
    def label(self) -> str:
        """What it is called in lines for people."""
        return self.place.name.removeprefix("ssh://")


def groups(spec: JobSpec, found: Sequence[PlannedLeg], *, repeats: int) -> tuple[Group, ...]:
    """The legs by place, in their order.

    `limits.max_cost` is of the whole comparison: each run on AWS gets its part.
    """
    at = list(dict.fromkeys(each.place for each in found))
    rented = sum(place.rented for place in at)
    return tuple(
        Group(
            place=place,
            legs=(mine := tuple(each for each in found if each.place == place)),
            spec=_spec(spec, place, mine, repeats=repeats, rented=rented, alone=len(at) == 1),
        )
        for place in at
    )


def _spec(
    spec: JobSpec, place: Place, found: Sequence[PlannedLeg], *, repeats: int, rented: int, alone: bool
) -> JobSpec:
    device = Device.GPU if any(each.leg.device is Device.GPU for each in found) else Device.CPU
    return replace(
        spec,
        name=_name(spec.name, "" if alone else place.name),
        device=device,
        floatx=found[0].leg.floatx,
        resources=_resources(spec.resources, place, device),
        limits=_share(spec.limits, rented) if place.rented else spec.limits,
        legs=tuple(each.order for each in found),
        repeats=repeats,
        compare=ComparisonWish(),
    )


def _name(name: str, place: str) -> str:
    tail = "-".join(filter(None, ("-compare", slug(place.removeprefix("ssh://"))[:16].strip("-") if place else "")))
    return name[: _NAME_LIMIT - len(tail)].rstrip("-") + tail


def _share(limits: Limits, count: int) -> Limits:
    if limits.max_cost_usd is None:
        return limits
    return replace(limits, max_cost_usd=limits.max_cost_usd / count)


def _resources(asked: Requirements, place: Place, device: Device) -> Requirements:
    """What the machine must have: a GPU, or else processors worth comparing with, and never such as run on credits."""
    if place.instance_types:
        return replace(
            asked,
            instance_types=place.instance_types,
            gpu_kind=None,
            gpu_memory_bytes=0,
            gpu_count=max(1, asked.gpu_count) if device is Device.GPU else 0,
            architecture="",
        )
    if device is Device.GPU:
        return replace(asked, gpu_count=max(1, asked.gpu_count), burstable=False)
    return replace(
        asked,
        # Types that were named for their GPU are no choice for a CPU.
        instance_types=() if asked.gpu_count else asked.instance_types,
        gpu_kind=None,
        gpu_memory_bytes=0,
        gpu_count=0,
        vcpus=max(asked.vcpus, MIN_CPU_VCPUS),
        memory_bytes=max(asked.memory_bytes, MIN_CPU_MEMORY_BYTES),
        burstable=False,
    )
