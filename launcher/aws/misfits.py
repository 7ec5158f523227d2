"""Why a region has nothing for a job: the wish that no machine grants, and the machine that comes nearest."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from launcher.aws import catalog, fitting, prices
from launcher.domain import SpotPolicy
from launcher.errors import NoCapacity, SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.aws.catalog import MachineType
    from launcher.domain import Requirements


def unknown_types(requirements: Requirements, types: Sequence[MachineType]) -> list[str]:
    """The named types that the region does not have."""
    return [
        pattern
        for pattern in requirements.instance_types
        if not any(catalog.named_by(each.name, [pattern]) for each in types)
    ]


def no_such_type(unknown: Sequence[str], region: str) -> SpecError:
    """Types that are not there."""
    known = sorted(prices.snapshot("us-east-1").usd_per_hour)
    elsewhere = [name for name in unknown if name in known]
    near = difflib.get_close_matches(unknown[0], known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "gpurun offers"
    if elsewhere:
        hint = "allow more regions (resources.regions: all, --region all), or other types"
    return SpecError(f"resources.instance_types: {region} does not offer {', '.join(unknown)}", hint=hint)


def nothing_fits(types: Sequence[MachineType], requirements: Requirements, region: str) -> NoCapacity | SpecError:
    """Name the wishes that no machine grants, or the machine that comes nearest to granting all."""
    checks = fitting.checks(requirements)
    obstacles = {each.name: fitting.obstacles(each, requirements) for each in types}
    hopeless = [words for words in checks if all(words in each for each in obstacles.values())]
    fewest = min(len(each) for each in obstacles.values())
    near = max((each for each in types if len(obstacles[each.name]) == fewest), key=fitting.size)
    kinds = sorted({each.gpu.kind for each in types if each.gpu})
    reason = f"no machine has {' or '.join(hopeless)}" if hopeless else f"no machine has all of: {', '.join(checks)}"
    nearest = f"the nearest is {near.name}, which lacks: {', '.join(obstacles[near.name])}"
    if requirements.zones and any(words.startswith("zones ") for words in hopeless):
        zones = sorted({zone for each in types for zone in each.zones})
        return SpecError(f"in {region} {reason}", hint=f"its zones are {', '.join(zones)}")
    unknown_kind = any(words.startswith("gpu kind") for words in hopeless)
    hint = (
        f"gpu kinds there: {', '.join(kinds)}"
        if unknown_kind and kinds
        else "ask for less in `resources`, or see `gpurun offers`"
    )
    return NoCapacity(f"in {region} {reason}; {nearest}", hint=hint)


def no_price(names: Sequence[str], requirements: Requirements, region: str) -> NoCapacity:
    """Machines that fit and that nobody sells."""
    sold = {
        SpotPolicy.SPOT: "has a spot price",
        SpotPolicy.ON_DEMAND: "has a known on-demand price",
        SpotPolicy.PREFER_SPOT: "has a price",
    }[requirements.spot]
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return NoCapacity(
        f"none of the machines that fit ({shown}) {sold} in {region} now",
        hint="allow the other market (resources.spot: prefer), or more regions",
    )
