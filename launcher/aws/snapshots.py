"""The figures that this package brings, for when AWS cannot be asked: each with its source and date, in the file."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from launcher.aws.catalog import MachineType, normal_kind
from launcher.domain import Gpu

if TYPE_CHECKING:
    from collections.abc import Sequence


@functools.cache
def figures() -> dict[str, Any]:
    """The file."""
    loaded: dict[str, Any] = json.loads(resources.files("launcher.aws").joinpath("snapshot.json").read_text("utf-8"))
    return loaded


def regions() -> list[str]:
    """Those with prices."""
    return sorted(figures()["usd_per_hour"])


def machine_types(region: str) -> Sequence[MachineType]:
    """The types that have a price there, in the zones that offered them then."""
    zones = figures()["zones"].get(region, {})
    return [
        _machine_type(name, facts, region, zones[name]) for name, facts in figures()["types"].items() if name in zones
    ]


def _machine_type(name: str, facts: dict[str, Any], region: str, letters: str) -> MachineType:
    gpu = facts.get("gpu")
    return MachineType(
        name=name,
        vcpus=facts["vcpus"],
        memory_bytes=facts["memory_mib"] << 20,
        architectures=tuple(facts["architectures"]),
        gpu=Gpu(kind=normal_kind(gpu["name"]), count=gpu["count"], memory_bytes=gpu["memory_mib"] << 20)
        if gpu
        else None,
        manufacturer=gpu["manufacturer"] if gpu else "",
        markets=("on-demand",),
        bare_metal=False,
        zones=tuple(region + letter for letter in letters),
    )
