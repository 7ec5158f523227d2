"""What a machine costs: the instance, its disk and its public address."""

from __future__ import annotations

import math
from dataclasses import fields
from datetime import datetime

from launcher.domain import CostEstimate, Market, Segment, SegmentCost

GP3_USD_PER_GIB_MONTH = 0.08
"""us-east-1 in 2026-11 (aws.amazon.com/ebs/pricing)."""
GP3_USD_PER_GIB_MONTH_ELSEWHERE = 0.152
"""The dearest of the other regions, sa-east-1: what a limit is held by must not be guessed too low."""
GP3_BASE_PRICE_REGIONS = frozenset({"us-east-1", "us-east-2", "us-west-2"})
IPV4_USD_PER_HOUR = 0.005
"""A public IPv4 address, in every region, in 2026-11 (aws.amazon.com/vpc/pricing)."""
EBS_HOURS_PER_MONTH = 720
"""AWS counts 30 days (the examples on aws.amazon.com/ebs/pricing)."""
END_MARGIN_S = 90.0
"""From the deadline until the machine is seen to be gone: systemd gives a service 90 s to stop (systemd-system.conf,
DefaultTimeoutStopSec), EventBridge Scheduler acts within the minute (its User Guide, "Schedule types")."""
ROUNDING_S = 2.0
"""Bills are rounded up to a second, deadlines are told in whole ones."""
MINIMUM_BILLED_S = 60
"""Linux instances and gp3 volumes are billed by the second, a minute at least (aws.amazon.com/ec2/pricing)."""


NOTHING = CostEstimate(instance_usd_per_hour=0.0, disk_usd_per_hour=0.0, address_usd_per_hour=0.0)
"""What an hour of the user's own machine costs."""


def estimate(instance_usd_per_hour: float, disk_gib: int, region: str) -> CostEstimate:
    """What an hour costs with this instance price and a gp3 root volume of this size."""
    base = region in GP3_BASE_PRICE_REGIONS
    gib_month = GP3_USD_PER_GIB_MONTH if base else GP3_USD_PER_GIB_MONTH_ELSEWHERE
    return CostEstimate(
        instance_usd_per_hour=instance_usd_per_hour,
        disk_usd_per_hour=disk_gib * gib_month / EBS_HOURS_PER_MONTH,
        address_usd_per_hour=IPV4_USD_PER_HOUR,
    )


def hours_for(cost_usd: float | None, cost: CostEstimate) -> float | None:
    """How many hours a budget buys until a machine's deadline; `None` without a budget.

    The time in which it then ends is paid too. 0 where less than the minute is left that is billed at least.
    """
    if cost_usd is None:
        return None
    bought_s = 3600 * cost_usd / cost.total_usd_per_hour - END_MARGIN_S - ROUNDING_S
    return bought_s / 3600 if bought_s >= MINIMUM_BILLED_S else 0.0


def billed_seconds(elapsed_s: float) -> int:
    """What AWS bills for a machine that lived so long; 0 for one that never was."""
    return max(MINIMUM_BILLED_S, math.ceil(elapsed_s)) if elapsed_s > 0 else 0


def actual(cost: CostEstimate, elapsed_s: float) -> float:
    """What a machine that lived so long cost, in US dollars."""
    return cost.total_usd_per_hour * billed_seconds(elapsed_s) / 3600


def bill(segment: Segment, disk_gib: int, now: datetime) -> SegmentCost:
    """What one machine of a run has cost, at the price that was in force; one that is still there up to now.

    A machine that was made costs the minute billed at least, whatever the clocks say; the user's own costs nothing.
    """
    rate = estimate(segment.price_usd_per_hour, disk_gib, segment.region)
    lived_s = ((segment.ended_at or now) - segment.began_at).total_seconds()
    billed_s = max(MINIMUM_BILLED_S, billed_seconds(lived_s))
    if segment.market == Market.YOURS:
        rate, billed_s = NOTHING, max(0, math.ceil(lived_s))
    hours = billed_s / 3600
    return SegmentCost(
        **{field.name: getattr(segment, field.name) for field in fields(Segment)},
        billed_s=billed_s,
        instance_usd=rate.instance_usd_per_hour * hours,
        disk_usd=rate.disk_usd_per_hour * hours,
        address_usd=rate.address_usd_per_hour * hours,
        cost_usd=rate.total_usd_per_hour * hours,
    )
