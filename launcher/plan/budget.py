"""Which offers a budget allows, and how long it lasts."""

from __future__ import annotations

from collections.abc import Sequence

from launcher import cost
from launcher.domain import CostEstimate, Limits, Offer

BUDGET_SPREAD = 1.25
"""Where the budget binds, its hours are those of the dearest pool: little dearer than the cheapest, then."""


def within_budget(offers: Sequence[Offer], limits: Limits, disk_gib: int) -> list[Offer]:
    """The offers that leave the budget its hours: where it does not buy `max_hours` of all, the cheaper ones alone."""
    if limits.max_cost_usd is None:
        return list(offers)
    rates = [estimate(offer, disk_gib).total_usd_per_hour for offer in offers]
    limit_usd = max(BUDGET_SPREAD * min(rates), limits.max_cost_usd / limits.max_hours)
    return [offer for offer, rate in zip(offers, rates, strict=True) if rate <= limit_usd]


def estimate(offer: Offer, disk_gib: int) -> CostEstimate:
    """What an hour of an offer costs, all in."""
    return cost.estimate(offer.price_usd_per_hour, disk_gib, offer.region)
