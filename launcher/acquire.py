"""From a plan to a machine that was made, or to what stands in the way, told in a line for each region and cause."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from launcher.aws import refusals, verdict
from launcher.aws.refusals import KEPT_S, Pool, Refusal
from launcher.domain import Instance, Offer, Plan
from launcher.live import LiveRun
from launcher.search import Made, search


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquired:
    """A machine that was made for the run, and what it was had for."""

    instance: Instance
    offer: Offer
    """The pool that it came from, with the price in force."""
    token: str
    """The idempotency token that it was asked for with."""
    region: str


def acquire(live: LiveRun, *, segment: int = 1, avoid: frozenset[Pool] = frozenset()) -> Acquired:
    """Make the machine of one segment of the run; the pools in `avoid` are asked only where no other has one.

    Raises a `ProvisionError` that names every region's refusal, `fleet.Unanswered` where a machine may have been made,
    and `CredentialsError`.
    """
    found = attempt(live, segment, avoid)
    if isinstance(found, Acquired):
        return found
    raise verdict.error(found)


def attempt(
    live: LiveRun,
    segment: int,
    avoid: frozenset[Pool] = frozenset(),
    *,
    standing: tuple[Refusal, ...] = (),
    max_age_s: float = KEPT_S,
) -> Acquired | tuple[Refusal, ...]:
    """Ask every pool of the plan once, but for those refused within `max_age_s` or by what is `standing`."""
    barred = (*standing, *_refused_lately(live, max_age_s))
    skipped = tuple(each for each in barred if any(each.bars(offer) for offer in live.plan.offers))
    offers = [offer for offer in live.plan.offers if not any(each.bars(offer) for each in barred)]
    refused = skipped
    for group in _preferred_first(offers, avoid):
        found = search(live, group, segment)
        if isinstance(found, Made):
            offer = offer_of(live.plan, found.instance)
            return Acquired(instance=found.instance, offer=offer, token=found.token, region=found.instance.region)
        refused += found
    return refused


def _refused_lately(live: LiveRun, max_age_s: float) -> tuple[Refusal, ...]:
    now = time.time()
    regions = dict.fromkeys(offer.region for offer in live.plan.offers)
    found = [refusals.refused(live.ledger.cache, live.aws.at(region), now, max_age_s=max_age_s) for region in regions]
    return tuple(each for some in found for each in sorted(some, key=lambda refusal: refusal.at))


def _preferred_first(offers: list[Offer], avoid: frozenset[Pool]) -> list[list[Offer]]:
    preferred = [offer for offer in offers if pool_of(offer) not in avoid]
    others = [offer for offer in offers if pool_of(offer) in avoid]
    return [group for group in (preferred, others) if group]


def offer_of(plan: Plan, instance: Instance) -> Offer:
    """The offer that a machine came from; of a machine that fits none, its pool at the dearest price of the plan."""
    made_of = Pool(market=instance.market, instance_type=instance.instance_type, zone=instance.zone)
    dearest = max(plan.offers, key=lambda offer: offer.price_usd_per_hour)
    unknown = replace(
        dearest,
        instance_type=instance.instance_type,
        region=instance.region,
        zone=instance.zone,
        market=instance.market,
    )
    return next((offer for offer in plan.offers if pool_of(offer) == made_of), unknown)


def pool_of(offer: Offer) -> Pool:
    """Where an offer's machine would come from."""
    return Pool(market=offer.market, instance_type=offer.instance_type, zone=offer.zone)
