"""What a run cost and brought home, from the ledger alone."""

from __future__ import annotations

from datetime import datetime

from launcher import cost
from launcher.domain import JobUsage, Receipt
from launcher.live import LiveRun, now


def receipt(live: LiveRun) -> Receipt:
    """What the run cost and brought home, from the ledger alone."""
    record = live.record
    begun = _moment(live, "instance")
    billed_s = cost.billed_seconds(((record.ended_at or now()) - begun).total_seconds()) if begun else 0.0
    estimate = cost.estimate(record.price_usd_per_hour or 0.0, live.spec.resources.disk_gib, record.region)
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
        cost_usd=cost.actual(estimate, billed_s),
        phases=live.phases.times(),
        results_dir=record.results_dir,
        fetched=bool(fetched),
        files=fetched[-1]["files"] if fetched else 0,
        size_bytes=fetched[-1]["size_bytes"] if fetched else 0,
        usage=JobUsage(**usage) if usage else None,
    )


def _moment(live: LiveRun, kind: str) -> datetime | None:
    found = [event.at for event in live.ledger.events(live.run_id) if event.kind == kind]
    return found[0] if found else None
