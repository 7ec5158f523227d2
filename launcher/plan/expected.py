"""What a whole run is expected to cost in a pool: pure arithmetic on figures that the plan shows."""

from __future__ import annotations

from dataclasses import replace

from launcher.domain import Assumptions, ExpectedCost, Market, Offer
from launcher.plan.budget import estimate

QUIET_PER_MONTH = 0.05
"""Interruptions of a spot machine whose price does not move. AWS: "across all Regions and instance types, the average
frequency of interruption is less than 5 %" a month (Spot Instance Advisor, 2026-11)."""
DOUBLING_VOLATILITY = 0.01
"""Each such step of daily volatility adds `QUIET_PER_MONTH` again. Nobody publishes the law; at this one a price that
moves by 5 % a day stands for 30 % a month, the Advisor's last class (">20 %")."""
UNKNOWN_VOLATILITY = 0.05
"""For a pool whose price history is not known: no better than one that moves."""
WORST_SCORE_FACTOR = 4.0
"""How many times as often machines go in a region of placement score 1 as in one of 10; in between on a line. The
score is EC2's guess of whether a request succeeds: scarce capacity is taken for what ends machines too."""
HOURS_PER_MONTH = 730.0


def interruptions_per_hour(daily_volatility: float | None, placement_score: int | None) -> float:
    """How often a spot machine is expected to be interrupted.

    A line through two points of AWS's Spot Instance Advisor, which does not serve its table by an API: an assumption,
    good for putting pools in order and no promise.
    """
    moves = UNKNOWN_VOLATILITY if daily_volatility is None else daily_volatility
    scarcity = 0.0 if placement_score is None else (10 - placement_score) / 9
    per_month = QUIET_PER_MONTH * (1 + moves / DOUBLING_VOLATILITY) * (1 + (WORST_SCORE_FACTOR - 1) * scarcity)
    return per_month / HOURS_PER_MONTH


def priced(
    offer: Offer,
    assumptions: Assumptions,
    disk_gib: int,
    daily_volatility: float | None = None,
    placement_score: int | None = None,
) -> Offer:
    """The offer with the run's expected cost: the work, one setup, and a restart for each expected interruption.

    The work is what `work_hours` do without an interruption: where the deadline comes first, the run costs less and
    is not done.
    """
    hourly = estimate(offer, disk_gib)
    rate = hourly.total_usd_per_hour
    work_hours, setup_hours = assumptions.work_hours, assumptions.setup_s / 3600
    interruptions = 0.0
    if offer.market is Market.SPOT:
        interruptions = interruptions_per_hour(daily_volatility, placement_score) * (work_hours + setup_hours)
    work_usd, setup_usd = rate * work_hours, rate * setup_hours
    interruptions_usd = rate * interruptions * assumptions.restart_s / 3600
    return replace(
        offer,
        expected=ExpectedCost(
            hourly=hourly,
            work_usd=work_usd,
            setup_usd=setup_usd,
            interruptions=interruptions,
            interruptions_usd=interruptions_usd,
            total_usd=work_usd + setup_usd + interruptions_usd,
            daily_volatility=daily_volatility,
            placement_score=placement_score,
        ),
    )


def repriced(offer: Offer, assumptions: Assumptions, disk_gib: int) -> Offer:
    """The same with another disk."""
    known = offer.expected
    if known is None:
        return priced(offer, assumptions, disk_gib)
    return priced(offer, assumptions, disk_gib, known.daily_volatility, known.placement_score)
