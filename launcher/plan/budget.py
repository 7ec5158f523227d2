"""Which offers a budget allows, and how long it lasts."""

from __future__ import annotations

from collections.abc import Sequence

from launcher import cost
from launcher.domain import CostEstimate, Limits, Offer
from launcher.errors import BudgetExceeded

BUDGET_SPREAD = 1.25
"""Where the budget binds, its hours are those of the dearest pool: little dearer than the cheapest, then."""
MIN_USEFUL_HOURS = 1 / 60
"""A minute, which AWS bills at least."""


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


def affordable_hours(limits: Limits, bought_hours: float | None) -> float:
    """The earlier of `max_hours` and what `max_cost` buys; raises `BudgetExceeded` when that is no useful time."""
    hours = limits.max_hours if bought_hours is None else min(limits.max_hours, bought_hours)
    if hours < MIN_USEFUL_HOURS and bought_hours is not None and bought_hours < limits.max_hours:
        raise BudgetExceeded(
            f"a budget of {limits.max_cost_usd} USD buys {hours * 60:.1f} minutes on the machines that fit",
            hint="a minute is billed at least: raise --max-cost, or see `gpurun offers`",
        )
    return hours
