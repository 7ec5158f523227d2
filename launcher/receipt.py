"""What a run cost and brought home, from the ledger alone."""

from __future__ import annotations

import math

from launcher import spending
from launcher.domain import JobUsage, Receipt
from launcher.live import LiveRun, now
from launcher.waste import wasted


def receipt(live: LiveRun) -> Receipt:
    """The run's receipt; of a run that goes on, the costs up to now."""
    record = live.record
    segments = live.ledger.segments(live.run_id)
    bills = spending.bills(record, segments, now())
    billed_s = sum(bill.billed_s for bill in bills)
    fetched = live.told("fetched")
    usage = next((data["usage"] for data in reversed(live.told("job.done")) if data.get("usage")), None)
    return Receipt(
        run_id=live.run_id,
        status=record.status,
        exit_status=record.exit_status,
        instance_type=record.instance_type or "",
        zone=record.zone or "",
        market=record.market or "",
        price_usd_per_hour=record.price_usd_per_hour or 0.0,
        billed_s=billed_s,
        cost_usd=spending.total_usd(bills),
        phases=live.phases.times(),
        results_dir=record.results_dir,
        fetched=bool(fetched),
        files=fetched[-1]["files"] if fetched else 0,
        size_bytes=fetched[-1]["size_bytes"] if fetched else 0,
        usage=JobUsage(**usage) if usage else None,
        instance_usd=math.fsum(bill.instance_usd for bill in bills),
        disk_usd=math.fsum(bill.disk_usd for bill in bills),
        address_usd=math.fsum(bill.address_usd for bill in bills),
        estimate_usd=live.plan.cost.total_usd_per_hour * billed_s / 3600,
        most_usd=live.plan.max_cost_usd,
        segments=bills,
        api_calls=sum(data["count"] for data in live.told("api.calls")),
        wasted=wasted(live.ledger.events(live.run_id), segments),
    )
