"""What a budget still buys: the absolute deadline of a run's next machine, such that its bill never passes the cap.

The rule: whatever is bought now, with all that was bought before, fits under `max_cost` even where every machine goes
as late as it can. It holds while no machine is dearer than it was planned to be, one that is left goes within
`LEAVING_S`, and one that reaches its deadline is gone within `END_MARGIN_S`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from launcher import cost
from launcher.cost import END_MARGIN_S, ROUNDING_S
from launcher.domain import CostEstimate, Limits, Segment
from launcher.errors import BudgetExceeded

NOTICE_S = 120.0
"""From the notice to the end of a spot instance (EC2 User Guide, "Spot Instance interruption notices")."""
LEAVING_S = NOTICE_S + END_MARGIN_S
"""By when a machine that is being replaced is seen to be gone."""
MIN_USEFUL_S = 60.0
"""Less than this buys nothing worth a machine, and a minute is billed in any case."""


def spent_usd(segments: Sequence[Segment], disk_gib: int, now: datetime) -> float:
    """What these machines have cost, disk and address included, those that are still there up to now; US dollars."""
    return math.fsum(cost.bill(segment, disk_gib, now).cost_usd for segment in segments)


def hours(limits: Limits, hourly: CostEstimate) -> float:
    """How long a new run may last on a machine at this price: the earlier of `max_hours` and what `max_cost` buys.

    Raises `BudgetExceeded` with the figures where the money buys less than a minute.
    """
    bought = cost.hours_for(limits.max_cost_usd, hourly)
    if limits.max_cost_usd is not None and not bought:
        raise _too_small(limits.max_cost_usd, 0.0, hourly.total_usd_per_hour)
    return min(limits.max_hours, bought or limits.max_hours)


def deadline(
    limits: Limits,
    created_at: datetime,
    segments: Sequence[Segment],
    hourly: CostEstimate,
    disk_gib: int,
    now: datetime,
    present_deadline: datetime | None = None,
    *,
    leaving_s: float = LEAVING_S,
) -> datetime:
    """When the run's next machine, which costs `hourly` at most, has to end: never later than the present deadline.

    The machines still there are counted until `leaving_s` from now. Raises `BudgetExceeded` with the figures where
    less than a minute is left, of money or of time.
    """
    latest = created_at + timedelta(hours=limits.max_hours)
    if present_deadline is not None:
        latest = min(latest, present_deadline)
    committed_usd = spent_usd(segments, disk_gib, now + timedelta(seconds=leaving_s))
    left_s = (latest - now).total_seconds()
    return now + timedelta(seconds=_within(limits, hourly, committed_usd=committed_usd, left_s=left_s))


def max_price_usd_per_hour(limits: Limits, dearest: CostEstimate) -> float | None:
    """The most that a spot instance may cost an hour: with a budget, no more than was planned, whatever prices do.

    EC2's own bound is the on-demand price (EC2 User Guide, "Spot Instance pricing"): several times the planned one.
    """
    if limits.max_cost_usd is None:
        return limits.max_price_usd_per_hour
    planned = dearest.instance_usd_per_hour
    return planned if limits.max_price_usd_per_hour is None else min(planned, limits.max_price_usd_per_hour)


def _within(limits: Limits, hourly: CostEstimate, *, committed_usd: float, left_s: float) -> float:
    """Seconds: the time that is left, or less where the money is short."""
    if left_s < MIN_USEFUL_S:
        raise BudgetExceeded(
            f"{max(left_s, 0.0):.0f} s are left until the run's deadline; {MIN_USEFUL_S:.0f} s are the least",
            hint="gpurun launch --max-hours with more hours",
        )
    if limits.max_cost_usd is None:
        return left_s
    rate = hourly.total_usd_per_hour / 3600
    bought_s = (limits.max_cost_usd - committed_usd) / rate - END_MARGIN_S - ROUNDING_S
    if bought_s < MIN_USEFUL_S:
        raise _too_small(limits.max_cost_usd, committed_usd, hourly.total_usd_per_hour)
    return min(left_s, bought_s)


def _too_small(max_cost_usd: float, committed_usd: float, usd_per_hour: float) -> BudgetExceeded:
    bought_s = 3600 * (max_cost_usd - committed_usd) / usd_per_hour - END_MARGIN_S - ROUNDING_S
    needed_usd = committed_usd + usd_per_hour * (MIN_USEFUL_S + END_MARGIN_S + ROUNDING_S) / 3600
    gone = f", of which {committed_usd:.4f} USD went into the machines so far," if committed_usd else ""
    return BudgetExceeded(
        f"a budget of {max_cost_usd:g} USD{gone} buys {max(bought_s, 0.0):.0f} s at {usd_per_hour:.4f} USD an hour"
        f" and {END_MARGIN_S:.0f} s for the machine to end in; {MIN_USEFUL_S:.0f} s are the least",
        hint=f"gpurun launch --max-cost {math.ceil(needed_usd * 100) / 100:.2f} or more; gpurun offers lists cheaper"
        " machines",
    )
