"""Which pools can be had for a job's requirements, and at what price."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from launcher.aws import catalog, fitting, misfits, pools, prices, regions, snapshots
from launcher.aws.abreast import MIN_PATIENCE_S, abreast
from launcher.aws.offercache import KeptOnly, OfferCache
from launcher.domain import Market, Offer, SpotPolicy
from launcher.errors import GpurunError, PriceTooHigh, ProvisionError, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.aws.client import Aws
    from launcher.aws.prices import Prices
    from launcher.domain import Requirements

__all__ = ["Found", "OfferCache", "find", "from_snapshot", "survey", "under_cap"]

MAX_CANDIDATES = 60
"""Types whose prices are looked up; the smallest that fit, since the cheapest are among them."""
ALL_REGIONS = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is on offer."""

    offers: list[Offer]
    """Cheapest first."""
    notes: tuple[str, ...]
    """A line for each region that has no part in it, or only with old figures, and why."""
    silent: frozenset[str]
    """The regions that did not answer, and are there with old figures."""


def find(
    aws: Aws,
    requirements: Requirements,
    cache: OfferCache,
    *,
    max_price_usd_per_hour: float | None = None,
) -> list[Offer]:
    """Every pool that fits, with its price, cheapest first, over all the regions that are asked for.

    Raises as `survey` does, and `PriceTooHigh` when the cap excludes all.
    """
    return under_cap(survey(aws, requirements, cache).offers, max_price_usd_per_hour)


def survey(aws: Aws, requirements: Requirements, cache: OfferCache) -> Found:
    """Ask every region at once; one that is slow, not enabled or has nothing is told and left out.

    Raises `SpecError` for a region that does not exist or a type that no region has, and what the first region says
    where none has anything: `NotPermitted` for one that is not enabled, `NoCapacity` when nothing on offer fits, and
    `ProvisionError` itself where nothing answers and nothing is kept of earlier answers.
    """
    wanted, refused = _usable(aws, _wanted(aws, requirements, cache), cache)
    told = abreast({name: partial(_in_region, aws, name, requirements, cache) for name in wanted})
    late = {name: _from_cache(aws, name, requirements, cache) for name in wanted if name not in told}
    outcomes = {**refused, **told, **late}
    answered = {name: each for name, each in outcomes.items() if not isinstance(each, GpurunError)}
    failed = {name: each for name, each in outcomes.items() if isinstance(each, GpurunError)}
    if not answered:
        raise _all_of(failed)
    left_out = [f"{name} is left out: {_short(error)}" for name, error in failed.items()]
    ages = {name: _age(each) for name, each in answered.items()}
    silent = {name for name, age in ages.items() if name in late or age > 2 * prices.SPOT_MAX_AGE}
    old = [f"EC2 in {name} does not answer: its figures are {_shown(ages[name])} old" for name in sorted(silent)]
    offers = [offer for each in answered.values() for offer in each]
    return Found(offers=under_cap(offers, None), notes=(*left_out, *old), silent=frozenset(silent))


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


def from_snapshot(asked_regions: Sequence[str], requirements: Requirements) -> list[Offer]:
    """On-demand offers of the day of the figures that this package brings; none where they have nothing that fits."""
    known = snapshots.regions()
    wanted = [name for name in asked_regions if name in known] or known
    asked = replace(requirements, spot=SpotPolicy.ON_DEMAND)
    offers: list[Offer] = []
    for region in wanted:
        types = [
            each
            for each in snapshots.machine_types(region)
            if not fitting.obstacles(each, asked)
            and (not asked.instance_types or catalog.named_by(each.name, asked.instance_types))
        ]
        offers += pools.priced(types, region, asked, None, prices.snapshot(region))
    return under_cap(offers, None)


def _wanted(aws: Aws, requirements: Requirements, cache: OfferCache) -> tuple[str, ...]:
    """The regions that are asked for; those without any of the zones that are asked for have no part in it."""
    wanted = requirements.regions or (aws.region,)
    if ALL_REGIONS in wanted:
        wanted = tuple(regions.enabled(aws, cache))
    zones = requirements.zones
    return tuple(name for name in dict.fromkeys(wanted) if not zones or _has_zone(name, zones)) or wanted


def _has_zone(region: str, zones: Sequence[str]) -> bool:
    return any(zone.startswith(region) for zone in zones)


def _usable(aws: Aws, wanted: Sequence[str], cache: OfferCache) -> tuple[Sequence[str], dict[str, GpurunError]]:
    """The regions that can be asked, and why the others cannot; a region that does not exist is raised."""
    if tuple(wanted) == (aws.region,):
        return wanted, {}
    known = _statuses(aws, cache)
    if known is None:
        return wanted, {}  # each will speak for itself
    if any(known.get(name, regions.OFF) == regions.OFF for name in wanted):
        known = _statuses(aws, None) or known  # it may have been enabled since
    objections = {name: regions.objection_to(name, known) for name in wanted}
    for objection in objections.values():
        if isinstance(objection, SpecError):
            raise objection
    refused: dict[str, GpurunError] = {name: each for name, each in objections.items() if each is not None}
    return [name for name in wanted if name not in refused], refused


def _statuses(aws: Aws, cache: OfferCache | None) -> dict[str, str] | None:
    answer = abreast({"regions": lambda: regions.statuses(aws, cache)}, patience_s=MIN_PATIENCE_S).get("regions")
    return answer if isinstance(answer, dict) else None


def _from_cache(aws: Aws, region: str, requirements: Requirements, cache: OfferCache) -> list[Offer] | GpurunError:
    """What earlier answers of a region that gives none in time make of it."""
    try:
        return _in_region(aws, region, requirements, KeptOnly(cache))
    except GpurunError as error:
        return ProvisionError(f"EC2 in {region} does not answer in time, and {error.message}", hint=error.hint)


def _short(error: GpurunError) -> str:
    """What happened and the next step, in one line."""
    happened = error.message.partition("\n")[0].partition(";")[0]
    return f"{happened}; next: {error.hint}" if error.hint else happened


def _all_of(failed: Mapping[str, GpurunError]) -> GpurunError:
    """One error for all regions, of the first one's kind."""
    first, *others = failed.values()
    if others:
        first.message = "\n".join(dict.fromkeys(error.message for error in failed.values()))
    return first


def _age(offers: Sequence[Offer]) -> timedelta:
    """Of the spot prices: they are asked for every few minutes, unless nothing answers."""
    now = datetime.now(UTC)
    return now - min((offer.priced_at for offer in offers if offer.market is Market.SPOT), default=now)


def _shown(age: timedelta) -> str:
    if age < timedelta(hours=1):
        return f"{age / timedelta(minutes=1):.0f} min"
    return f"{age / timedelta(hours=1):.0f} h" if age < timedelta(days=2) else f"{age / timedelta(days=1):.0f} days"


def _in_region(home: Aws, region: str, requirements: Requirements, cache: OfferCache) -> list[Offer]:
    """The region's offers; raises what it lacks."""
    aws = home.at(region)
    types = catalog.machine_types(aws, catalog.patterns_for(requirements), cache)
    if not types:
        regions.check(aws, [region], cache)
    unknown = misfits.unknown_types(requirements, types)
    if unknown:
        raise misfits.no_such_type(unknown, region)
    fitting_types = [each for each in types if not fitting.obstacles(each, requirements)]
    if not fitting_types:
        raise misfits.nothing_fits(types, requirements, region)
    candidates = sorted(fitting_types, key=fitting.size)[:MAX_CANDIDATES]
    names = [each.name for each in candidates]
    spot, on_demand = _prices(aws, names, requirements, cache)
    found = pools.priced(candidates, region, requirements, spot, on_demand)
    if not found:
        raise misfits.no_price(names, requirements, region)
    return found


def _prices(
    aws: Aws, names: Sequence[str], requirements: Requirements, cache: OfferCache
) -> tuple[Prices | None, Prices]:
    """Spot prices where they are wanted, and on-demand ones; the Price List API may be as slow as it likes."""
    questions = {"on-demand": partial(prices.on_demand, aws, names, cache)}
    if requirements.spot is not SpotPolicy.ON_DEMAND:
        questions["spot"] = partial(prices.spot, aws, names, cache)
    told = abreast(questions, needed={"spot"} & questions.keys())
    late = KeptOnly(cache)
    spot = _given(told.get("spot") or prices.spot(aws, names, late)) if "spot" in questions else None
    return spot, _given(told.get("on-demand") or prices.on_demand(aws, names, late))


def _given(answer: Prices | GpurunError) -> Prices:
    if isinstance(answer, GpurunError):
        raise answer
    return answer
