"""From a spec to a plan: which pools to try, best first, and what the run costs at most."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from launcher import cost
from launcher.aws import images, offers
from launcher.aws.client import Aws
from launcher.domain import Device, JobSpec, Limits, Market, Offer, Plan, Requirements, SpotPolicy
from launcher.errors import BudgetExceeded, PriceTooHigh

MAX_POOLS = 60
"""CreateFleet takes 300 overrides; more than this adds API time and no capacity worth having."""
MIN_CPU_VCPUS = 2
MIN_CPU_MEMORY_BYTES = 4 << 30
MIN_USEFUL_HOURS = 0.1


class OfferCache(Protocol):
    """What keeps fetched prices; the ledger does."""

    def get(self, key: str) -> tuple[str, object] | None:
        """The text kept under `key` and when it was fetched."""

    def put(self, key: str, text: str) -> None:
        """Keep `text` under `key`, fetched now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Offers in the order in which they will be tried."""

    offers: tuple[Offer, ...]
    dropped_over_price: int


def needed(spec: JobSpec) -> Requirements:
    """The spec's requirements with the floor that a job of its device needs."""
    asked = spec.resources
    if asked.instance_types or asked.vcpus or asked.memory_bytes or asked.gpu_count:
        return asked
    if spec.device is Device.GPU:
        return replace(asked, gpu_count=1)
    return replace(asked, vcpus=MIN_CPU_VCPUS, memory_bytes=MIN_CPU_MEMORY_BYTES)


def rank(found: list[Offer], policy: SpotPolicy, limits: Limits) -> Ranked:
    """Order offers by market, as the policy wants, then by price; those over the price cap are left out."""
    markets = {
        SpotPolicy.SPOT: (Market.SPOT,),
        SpotPolicy.ON_DEMAND: (Market.ON_DEMAND,),
        SpotPolicy.PREFER_SPOT: (Market.SPOT, Market.ON_DEMAND),
    }[policy]
    allowed = [offer for offer in found if offer.market in markets]
    cap = limits.max_price_usd_per_hour
    under = [offer for offer in allowed if cap is None or offer.price_usd_per_hour <= cap]
    ordered = sorted(
        under, key=lambda offer: (markets.index(offer.market), offer.price_usd_per_hour, offer.zone)
    )
    return Ranked(offers=tuple(ordered[:MAX_POOLS]), dropped_over_price=len(allowed) - len(under))


def make(spec: JobSpec, aws: Aws, cache: OfferCache) -> Plan:
    """Plan a run.

    Raises `PriceTooHigh` when the cap excludes every pool, `BudgetExceeded` when the budget buys no useful time, and
    what `offers` and `images` raise.
    """
    requirements = needed(spec)
    found = offers.find(aws, requirements, cache)
    ranked = rank(found, requirements.spot, spec.limits)
    if not ranked.offers:
        cheapest = min(offer.price_usd_per_hour for offer in found)
        raise PriceTooHigh(
            f"no offer under the price cap: {ranked.dropped_over_price} looked at, "
            f"the cheapest costs {cheapest:.4f} USD an hour",
            hint=f"raise --max-price to at least {cheapest:.4f}, or see `gpurun offers`",
        )
    best = ranked.offers[0]
    image = images.resolve(aws.at(best.region), requirements.image, architecture=best.architecture)
    disk_gib = max(requirements.disk_gib, image.root_size_gib)
    estimate = cost.estimate(best.price_usd_per_hour, disk_gib, best.region)
    hours = affordable_hours(spec.limits, cost.hours_for(spec.limits.max_cost_usd, estimate))
    return Plan(
        offers=tuple(offer for offer in ranked.offers if offer.architecture == best.architecture),
        image=image,
        cost=estimate,
        hours=hours,
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
