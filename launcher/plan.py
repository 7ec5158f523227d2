"""From a spec to a plan: which pools to try, best first, and what the run costs at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from launcher import cost
from launcher.aws import images, offers
from launcher.aws.client import Aws
from launcher.aws.offercache import OfferCache
from launcher.domain import Device, JobSpec, Limits, Market, Offer, Plan, Requirements, SpotPolicy
from launcher.errors import BudgetExceeded, NoCapacity

MAX_POOLS = 60
"""CreateFleet takes 300 overrides; more than this adds API time and no capacity worth having."""
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
    allowed = [offer for offer in found if offer.market in markets]
    ordered = sorted(allowed, key=lambda offer: (markets.index(offer.market), offer.price_usd_per_hour, offer.zone))
    return tuple(ordered[:MAX_POOLS])


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
    estimate = cost.estimate(best.price_usd_per_hour, disk_gib, best.region)
    budget_usd = spec.limits.max_cost_usd
    bought_hours = None if budget_usd is None else cost.hours_for(budget_usd, estimate)
    return Plan(
        offers=tuple(offer for offer in ranked if offer.architecture == best.architecture),
        image=image,
        cost=estimate,
        hours=affordable_hours(spec.limits, bought_hours),
        warnings=_warnings(spec, best),
    )


def affordable_hours(limits: Limits, bought_hours: float | None) -> float:
    """The earlier of `max_hours` and what `max_cost` buys; raises `BudgetExceeded` when that is no useful time."""
    hours = limits.max_hours if bought_hours is None else min(limits.max_hours, bought_hours)
    if hours < MIN_USEFUL_HOURS and bought_hours is not None and bought_hours < limits.max_hours:
        raise BudgetExceeded(
            f"a budget of {limits.max_cost_usd} USD buys {hours * 60:.1f} minutes on the cheapest machine that fits",
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
