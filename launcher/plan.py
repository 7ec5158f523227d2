"""From a spec to a plan: which pools to try, best first, and what the run costs at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from launcher import cost
from launcher.aws import images, offers
from launcher.aws.client import Aws
from launcher.aws.offercache import OfferCache
from launcher.domain import CostEstimate, Device, JobSpec, Limits, Market, Offer, Plan, Requirements, SpotPolicy
from launcher.errors import BudgetExceeded, NoCapacity

MAX_POOLS = 60
"""Of a market. CreateFleet takes 300 overrides; more than this adds API time and no capacity worth having."""
MIN_POOLS = 6
PRICE_SPREAD = 2.0
"""EC2 may choose any pool that is offered for its capacity: none at over twice the cheapest price."""
BUDGET_SPREAD = 1.25
"""Where the budget binds, its hours are those of the dearest pool: little dearer than the cheapest, then."""
MIN_CPU_VCPUS = 2
MIN_CPU_MEMORY_BYTES = 4 << 30
MIN_USEFUL_HOURS = 0.1


def needed(spec: JobSpec) -> Requirements:
    """The spec's requirements with the floor that a job of its device needs."""
    asked = spec.resources
    if asked.instance_types:
        return asked
    if spec.device is Device.GPU:
        return replace(asked, gpu_count=max(1, asked.gpu_count))
    return replace(
        asked,
        vcpus=asked.vcpus or MIN_CPU_VCPUS,
        # The cheapest machines have half a GiB, which no framework fits into.
        memory_bytes=asked.memory_bytes or MIN_CPU_MEMORY_BYTES,
    )


def rank(found: Sequence[Offer], policy: SpotPolicy) -> tuple[Offer, ...]:
    """Offers in the order in which they will be tried: by market, as the policy wants, then by price."""
    markets = {
        SpotPolicy.SPOT: (Market.SPOT,),
        SpotPolicy.ON_DEMAND: (Market.ON_DEMAND,),
        SpotPolicy.PREFER_SPOT: (Market.SPOT, Market.ON_DEMAND),
    }[policy]
    return tuple(offer for market in markets for offer in _near_the_cheapest(found, market))


def _near_the_cheapest(found: Sequence[Offer], market: Market) -> list[Offer]:
    """A market's offers by price, as long as they are worth being chosen for their capacity."""
    offered = [offer for offer in found if offer.market is market]
    ordered = sorted(offered, key=lambda offer: (offer.price_usd_per_hour, offer.zone))
    dearest_usd = PRICE_SPREAD * ordered[0].price_usd_per_hour if ordered else 0.0
    near = [offer for offer in ordered if offer.price_usd_per_hour <= dearest_usd]
    return (near if len(near) >= MIN_POOLS else ordered[:MIN_POOLS])[:MAX_POOLS]


def make(spec: JobSpec, aws: Aws, cache: OfferCache) -> Plan:
    """Plan a run.

    Raises `BudgetExceeded` when the budget buys no useful time, and what `offers` and `images` raise.
    """
    requirements = needed(spec)
    found = offers.find(aws, requirements, cache, max_price_usd_per_hour=spec.limits.max_price_usd_per_hour)
    ranked = rank(found, requirements.spot)
    if not ranked:
        raise NoCapacity(
            f"no {requirements.spot} offer fits, though {len(found)} others do",
            hint="--spot prefer allows both markets; gpurun offers lists them",
        )
    best = ranked[0]
    image = images.resolve(aws.at(best.region), requirements.image, architecture=best.architecture)
    disk_gib = max(requirements.disk_gib, image.root_size_gib)
    kept = within_budget([offer for offer in ranked if offer.architecture == best.architecture], spec.limits, disk_gib)
    dearest = max((_estimate(offer, disk_gib) for offer in kept), key=lambda each: each.total_usd_per_hour)
    return Plan(
        offers=tuple(kept),
        image=image,
        cost=_estimate(best, disk_gib),
        dearest=dearest,
        hours=affordable_hours(spec.limits, cost.hours_for(spec.limits.max_cost_usd, dearest)),
        warnings=_warnings(spec, best),
    )


def within_budget(offers: Sequence[Offer], limits: Limits, disk_gib: int) -> list[Offer]:
    """The offers that leave the budget its hours: where it does not buy `max_hours` of all, the cheaper ones alone."""
    if limits.max_cost_usd is None:
        return list(offers)
    rates = [_estimate(offer, disk_gib).total_usd_per_hour for offer in offers]
    limit_usd = max(BUDGET_SPREAD * min(rates), limits.max_cost_usd / limits.max_hours)
    return [offer for offer, rate in zip(offers, rates, strict=True) if rate <= limit_usd]


def _estimate(offer: Offer, disk_gib: int) -> CostEstimate:
    return cost.estimate(offer.price_usd_per_hour, disk_gib, offer.region)


def affordable_hours(limits: Limits, bought_hours: float | None) -> float:
    """The earlier of `max_hours` and what `max_cost` buys; raises `BudgetExceeded` when that is no useful time."""
    hours = limits.max_hours if bought_hours is None else min(limits.max_hours, bought_hours)
    if hours < MIN_USEFUL_HOURS and bought_hours is not None and bought_hours < limits.max_hours:
        raise BudgetExceeded(
            f"a budget of {limits.max_cost_usd} USD buys {hours * 60:.1f} minutes on the machines that fit",
            hint=f"at least {MIN_USEFUL_HOURS * 60:.0f} minutes are needed: raise --max-cost, or see `gpurun offers`",
        )
    return hours


def _warnings(spec: JobSpec, best: Offer) -> tuple[str, ...]:
    warnings = []
    if best.source == "snapshot":
        warnings.append(f"prices are from a snapshot of {best.priced_at:%Y-%m-%d}: the live ones could not be read")
    if spec.device is Device.GPU and best.gpu is None:
        warnings.append(f"the job asks for a GPU and {best.instance_type} has none")
    return tuple(warnings)
