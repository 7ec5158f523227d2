"""What runs have cost, from the ledger alone: machine by machine, and summed up by name, day or pool."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from launcher import cost
from launcher.domain import CostEstimate, Requirements, Segment, SegmentCost
from launcher.ledger import CostRow, RunRecord, receipt_from_text


class By(StrEnum):
    """What to sum up by."""

    NAME = "name"
    DAY = "day"
    POOL = "pool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one machine of a run cost on one day (UTC)."""

    run_id: str
    name: str
    day: date
    pool: str
    """type/zone/market"""
    seconds: float
    cost_usd: float
    estimate_usd: float | None
    """What the plan's best offer costs in this time; `None` where there is no plan."""
    interrupted: bool
    """Whether the machine was ended by somebody else than the run, on this day."""
    under_way: bool
    """Whether the run goes on: these are its costs so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Shares summed up."""

    key: str
    runs: int
    under_way: int
    """Of `runs`."""
    interruptions: int
    hours: float
    estimate_usd: float
    """Of the shares that have a plan."""
    cost_usd: float


def disk_gib(run: RunRecord) -> int:
    """The root volume of a run's machines: what the spec asks for, or the image needs."""
    asked = _mapping(run.spec).get("resources", {}).get("disk_gib", Requirements().disk_gib)
    return int(max(asked, _mapping(run.plan).get("image", {}).get("root_size_gib", 0)))


def max_cost_usd(run: RunRecord) -> float | None:
    """What the run may cost, by its spec."""
    limit = _mapping(run.spec).get("limits", {}).get("max_cost_usd")
    return None if limit is None else float(limit)


def bills(run: RunRecord, segments: Sequence[Segment], now: datetime) -> tuple[SegmentCost, ...]:
    """What each machine of a run has cost; of a run that has ended, one whose end nobody wrote down ended with it."""
    gone = (replace(segment, ended_at=segment.ended_at or run.ended_at) for segment in segments)
    return tuple(cost.bill(segment, disk_gib(run), now) for segment in gone)


def total_usd(costs: Iterable[SegmentCost]) -> float:
    """All of them together, in US dollars."""
    return math.fsum(each.cost_usd for each in costs)


def shares(row: CostRow, now: datetime) -> tuple[Share, ...]:
    """A run's costs, by machine and day; the figures of its receipt where it has one, else the costs up to now."""
    run, rate = row.run, _planned_rate(row.run)
    return tuple(
        Share(
            run_id=run.run_id,
            name=run.name,
            day=day,
            pool=f"{bill.instance_type}/{bill.zone}/{bill.market}",
            seconds=bill.billed_s * part,
            cost_usd=bill.cost_usd * part,
            estimate_usd=None if rate is None else rate * bill.billed_s * part / 3600,
            interrupted=last and bill.interrupted,
            under_way=not run.status.final,
        )
        for bill in _final_bills(row, now)
        for day, part, last in _days(bill)
    )


def totals(found: Iterable[Share], by: By) -> tuple[Total, ...]:
    """Sums by name, day or pool: the dearest first, days in their order."""
    groups: dict[str, list[Share]] = {}
    for share in found:
        groups.setdefault(_key(share, by), []).append(share)
    summed = [total(key, group) for key, group in groups.items()]
    return tuple(sorted(summed, key=lambda each: each.key if by is By.DAY else (-each.cost_usd, each.key)))


def total(key: str, found: Sequence[Share]) -> Total:
    """All of these together."""
    return Total(
        key=key,
        runs=len({share.run_id for share in found}),
        under_way=len({share.run_id for share in found if share.under_way}),
        interruptions=sum(share.interrupted for share in found),
        hours=math.fsum(share.seconds for share in found) / 3600,
        estimate_usd=math.fsum(share.estimate_usd or 0.0 for share in found),
        cost_usd=math.fsum(share.cost_usd for share in found),
    )


def _key(share: Share, by: By) -> str:
    return {By.NAME: share.name, By.DAY: share.day.isoformat(), By.POOL: share.pool}[by]


def _final_bills(row: CostRow, now: datetime) -> tuple[SegmentCost, ...]:
    receipt = receipt_from_text(row.run.receipt) if row.run.receipt else None
    if receipt is None:
        return bills(row.run, row.segments, now)
    if receipt.segments or not row.segments:
        return receipt.segments
    # A receipt of an older version knows one machine and its whole cost.
    (only,) = bills(row.run, row.segments[:1], now)
    return (replace(only, billed_s=int(receipt.billed_s), cost_usd=receipt.cost_usd),)


def _days(bill: SegmentCost) -> Iterator[tuple[date, float, bool]]:
    """The days (UTC) that a bill's seconds lie in, the part that lies in each, and whether it is the last."""
    begin = bill.began_at.astimezone(UTC)
    end = begin + timedelta(seconds=bill.billed_s)
    while begin < end:
        midnight = datetime(begin.year, begin.month, begin.day, tzinfo=UTC) + timedelta(days=1)
        until = min(end, midnight)
        yield begin.date(), (until - begin).total_seconds() / bill.billed_s, until == end
        begin = until


def _planned_rate(run: RunRecord) -> float | None:
    planned = _mapping(run.plan).get("cost")
    return CostEstimate(**planned).total_usd_per_hour if planned else None


def _mapping(text: str | None) -> dict[str, Any]:
    """A stored plan or spec as it is written, without the second that reading it as one takes to import."""
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}
