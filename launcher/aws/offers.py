"""Which pools can be had for a job's requirements, and at what price."""

from __future__ import annotations

import difflib
import fnmatch
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from launcher.aws import catalog, prices, regions
from launcher.aws.catalog import MachineType, normal_kind
from launcher.aws.offercache import OfferCache
from launcher.domain import Market, Offer, SpotPolicy
from launcher.errors import BrokenRequest, GpurunError, NoCapacity, PriceTooHigh, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.aws.client import Aws
    from launcher.aws.prices import Prices
    from launcher.domain import Requirements

__all__ = ["OfferCache", "find"]

MAX_CANDIDATES = 60
"""Types whose prices are looked up; the smallest that fit, since the cheapest are among them."""
ARCHITECTURE = "x86_64"
"""Of the default image, and of nearly all wheels; other types are offered only where they are named."""


def find(
    aws: Aws,
    requirements: Requirements,
    cache: OfferCache,
    *,
    max_price_usd_per_hour: float | None = None,
) -> list[Offer]:
    """Every pool that fits, with its price, cheapest first, over all the regions that are asked for.

    Raises `SpecError` for an unknown region or type, `NotPermitted` for a region that is not enabled, `PriceTooHigh`
    when the cap excludes all, `NoCapacity` when nothing on offer fits; each says what excluded the rest.
    """
    wanted = requirements.regions or (aws.region,)
    if wanted != (aws.region,):
        regions.check(aws, wanted)
    with ThreadPoolExecutor(min(8, len(wanted))) as pool:
        outcomes = list(pool.map(lambda region: _in_region(aws.at(region), requirements, cache), wanted))
    found = [offer for outcome in outcomes if isinstance(outcome, list) for offer in outcome]
    if not found:
        raise next(outcome for outcome in outcomes if isinstance(outcome, GpurunError))
    return under_cap(found, max_price_usd_per_hour)


def under_cap(found: Sequence[Offer], cap_usd_per_hour: float | None) -> list[Offer]:
    """The offers at or under the cap, cheapest first; raises `PriceTooHigh` when there is none."""
    ordered = sorted(found, key=lambda each: (each.price_usd_per_hour, each.instance_type, each.zone))
    kept = [each for each in ordered if cap_usd_per_hour is None or each.price_usd_per_hour <= cap_usd_per_hour]
    if ordered and not kept:
        best = ordered[0]
        raise PriceTooHigh(
            f"none of {len(ordered)} offers is at or under {cap_usd_per_hour} USD an hour; the cheapest is "
            f"{best.instance_type} ({best.market.value}) in {best.zone} at {best.price_usd_per_hour:.4f}",
            hint=f"raise limits.max_price to {best.price_usd_per_hour:.4f}, or see `gpurun offers`",
        )
    return kept


def _in_region(aws: Aws, requirements: Requirements, cache: OfferCache) -> list[Offer] | GpurunError:
    """The region's offers, or why it has none; a failure of AWS is raised."""
    patterns = catalog.patterns_for(requirements)
    types = catalog.machine_types(aws, patterns, cache)
    if not types:
        regions.check(aws, [aws.region])
    unknown = _unknown(requirements, types)
    if unknown:
        return _no_such_type(unknown, aws.region)
    fitting = [each for each in types if not _obstacles(each, requirements)]
    if not fitting:
        return _nothing_fits(types, requirements, aws.region)
    candidates = sorted(fitting, key=_size)[:MAX_CANDIDATES]
    names = [each.name for each in candidates]
    with ThreadPoolExecutor(2) as pool:
        on_demand = pool.submit(prices.on_demand, aws, names, cache)
        spot = None
        if requirements.spot is not SpotPolicy.ON_DEMAND:
            spot = pool.submit(prices.spot, aws, names, cache)
        found = _priced(candidates, aws.region, requirements, spot.result() if spot else None, on_demand.result())
    return found or _no_price(names, requirements, aws.region)


def _size(each: MachineType) -> tuple[int, int, int, str]:
    return (each.gpu.count if each.gpu else 0, each.vcpus, each.memory_bytes, each.name)


def _checks(requirements: Requirements) -> dict[str, Callable[[MachineType], bool]]:
    """What the job asks of a machine, each by the words in which it is told to the user."""
    asked = requirements
    named = bool(asked.instance_types)
    checks: dict[str, Callable[[MachineType], bool]] = {
        "no bare metal": lambda each: named or not each.bare_metal,
        f"architecture {ARCHITECTURE}": lambda each: named or ARCHITECTURE in each.architectures,
    }
    if asked.zones:
        checks[f"zones {', '.join(asked.zones)}"] = lambda each: bool(set(asked.zones) & set(each.zones))
    if asked.vcpus:
        checks[f"vcpus >= {asked.vcpus}"] = lambda each: each.vcpus >= asked.vcpus
    if asked.memory_bytes:
        checks[f"memory >= {_gib(asked.memory_bytes)} GiB"] = lambda each: each.memory_bytes >= asked.memory_bytes
    return checks | _gpu_checks(asked, named=named)


def _gpu_checks(asked: Requirements, *, named: bool) -> dict[str, Callable[[MachineType], bool]]:
    if not catalog.wants_gpu(asked):
        return {} if named else {"no GPU": lambda each: each.gpu is None}
    count = max(1, asked.gpu_count)
    checks: dict[str, Callable[[MachineType], bool]] = {
        f"gpu count >= {count}": lambda each: each.gpu is not None and each.gpu.count >= count
    }
    if asked.gpu_kind:
        kind = normal_kind(asked.gpu_kind)
        checks[f"gpu kind {kind}"] = lambda each: each.gpu is not None and each.gpu.kind == kind
    elif not named:
        checks["an NVIDIA gpu"] = lambda each: each.manufacturer.upper() == "NVIDIA"
    if asked.gpu_memory_bytes:
        checks[f"gpu memory >= {_gib(asked.gpu_memory_bytes)} GiB"] = lambda each: (
            each.gpu is not None and each.gpu.memory_bytes >= asked.gpu_memory_bytes
        )
    return checks


def _obstacles(each: MachineType, requirements: Requirements) -> list[str]:
    return [words for words, fits in _checks(requirements).items() if not fits(each)]


def _priced(
    candidates: Sequence[MachineType],
    region: str,
    requirements: Requirements,
    spot: Prices | None,
    on_demand: Prices,
) -> list[Offer]:
    found: list[Offer] = []
    for each in candidates:
        list_price = on_demand.usd_per_hour.get(each.name)
        for zone in each.zones:
            if requirements.zones and zone not in requirements.zones:
                continue
            spot_price = spot.usd_per_hour.get(f"{each.name}/{zone}") if spot else None
            if spot is not None and spot_price is not None and "spot" in each.markets:
                found.append(_offer(each, region, zone, Market.SPOT, spot_price, list_price, spot))
            wanted = requirements.spot is not SpotPolicy.SPOT and "on-demand" in each.markets
            if wanted and list_price is not None:
                found.append(_offer(each, region, zone, Market.ON_DEMAND, list_price, list_price, on_demand))
    return found


def _offer(
    each: MachineType,
    region: str,
    zone: str,
    market: Market,
    price: float,
    list_price: float | None,
    prices_of: Prices,
) -> Offer:
    return Offer(
        instance_type=each.name,
        region=region,
        zone=zone,
        market=market,
        price_usd_per_hour=price,
        on_demand_usd_per_hour=list_price,
        vcpus=each.vcpus,
        memory_bytes=each.memory_bytes,
        architecture=ARCHITECTURE if ARCHITECTURE in each.architectures else each.architectures[0],
        gpu=each.gpu,
        priced_at=prices_of.priced_at,
        source=prices_of.source,
    )


def _unknown(requirements: Requirements, types: Sequence[MachineType]) -> list[str]:
    names = [each.name for each in types]
    return [pattern for pattern in requirements.instance_types if not fnmatch.filter(names, pattern)]


def _no_such_type(unknown: Sequence[str], region: str) -> SpecError:
    known = sorted(prices.snapshot("us-east-1").usd_per_hour)
    near = difflib.get_close_matches(unknown[0], known, n=3, cutoff=0.5)
    return SpecError(
        f"resources.instance_types: {region} does not offer {', '.join(unknown)}",
        hint=f"did you mean {', '.join(near)}?" if near else "gpurun offers",
    )


def _nothing_fits(
    types: Sequence[MachineType], requirements: Requirements, region: str
) -> NoCapacity | SpecError | BrokenRequest:
    """Name the wishes that no machine grants, or the machine that comes nearest to granting all."""
    obstacles = {each.name: _obstacles(each, requirements) for each in types}
    hopeless = [words for words in _checks(requirements) if all(words in each for each in obstacles.values())]
    fewest = min(len(each) for each in obstacles.values())
    near = max((each for each in types if len(obstacles[each.name]) == fewest), key=_size)
    kinds = sorted({each.gpu.kind for each in types if each.gpu})
    reason = (
        f"no machine has {' or '.join(hopeless)}"
        if hopeless
        else f"no machine has all of: {', '.join(_checks(requirements))}"
    )
    nearest = f"the nearest is {near.name}, which lacks: {', '.join(obstacles[near.name])}"
    if requirements.zones and any(words.startswith("zones ") for words in hopeless):
        zones = sorted({zone for each in types for zone in each.zones})
        return SpecError(f"in {region} {reason}", hint=f"its zones are {', '.join(zones)}")
    unknown_kind = any(words.startswith("gpu kind") for words in hopeless)
    hint = (
        f"gpu kinds there: {', '.join(kinds)}"
        if unknown_kind
        else "ask for less in `resources`, or see `gpurun offers`"
    )
    return NoCapacity(f"in {region} {reason}; {nearest}", hint=hint)


def _no_price(names: Sequence[str], requirements: Requirements, region: str) -> NoCapacity:
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


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):g}"
