"""A plan, and what is on offer, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launcher import cost, render
from launcher.domain import SpotPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.domain import Assumptions, CostEstimate, JobSpec, Measured, NoticeCheck, Offer, Plan
    from launcher.plan import Survey


def text(spec: JobSpec, plan: Plan, *, rows: int) -> str:
    """The best pools and what the run costs, as expected and at most."""
    best = plan.offers[0]
    lines = [render.table(HEADERS, [row(offer) for offer in plan.offers[:rows]])]
    if len(plan.offers) > rows:
        lines.append(f"... and {len(plan.offers) - rows} more pools, tried in one request")
    lines += [
        f"image    {plan.image.name or plan.image.image_id} ({plan.image.image_id})",
        f"job      {spec.name}: {spec.device}, {spec.floatx}",
        f"cost     {plan.cost.total_usd_per_hour:.4f} USD an hour"
        f" ({best.instance_type} {plan.cost.instance_usd_per_hour:.4f} + disk {plan.cost.disk_usd_per_hour:.4f}"
        f" + address {plan.cost.address_usd_per_hour:.4f}),"
        f" at most {plan.max_cost_usd:.2f} USD in {plan.hours:.2f} h",
        *_about(plan.offers, plan.assumptions, plan.notice),
    ]
    if spec.limits.max_cost_usd is not None:
        lines.append(_budget(spec.limits.max_cost_usd, plan.cost, plan.dearest))
    lines += [f"warning: {warning}" for warning in plan.warnings]
    return "\n".join(lines)


def survey_text(spec: JobSpec, found: Survey, notice: NoticeCheck | None, *, rows: int) -> str:
    """What is on offer, the cheapest run first."""
    from launcher import plan

    lines = [render.table(HEADERS, [row(offer) for offer in found.offers[:rows]])]
    if len(found.offers) > rows:
        lines.append(f"... and {len(found.offers) - rows} more; --limit {len(found.offers)} shows all")
    lines += _about(found.offers, found.assumptions, notice)
    tried = plan.rank(found.offers, SpotPolicy.ON_DEMAND if found.snapshot_date else spec.resources.spot)
    rates = sorted((_hourly(offer) for offer in tried), key=lambda each: each.total_usd_per_hour)
    if rates:
        hours = spec.limits.max_hours
        lines.append(
            f"at most  {rates[-1].total_usd_per_hour * hours:.2f} USD in {hours:g} h, in the dearest of the"
            f" {len(rates)} pools that a launch would try"
        )
        if spec.limits.max_cost_usd is not None:
            lines.append(_budget(spec.limits.max_cost_usd, rates[0], rates[-1]))
    lines += [f"warning: {warning}" for warning in (*found.warnings, *plan.objection(notice))]
    return "\n".join(lines)


HEADERS = (*("pool", "zone", "market", "USD/h", "run, USD", "interruptions", "saves", "vCPU", "GiB", "GPU", "price"),)


def row(offer: Offer) -> tuple[str, ...]:
    """One offer as a row of text."""
    gpu = f"{offer.gpu.count} x {offer.gpu.kind} {offer.gpu.memory_bytes >> 30} GiB" if offer.gpu else ""
    saved = (
        f"{100 * (1 - offer.price_usd_per_hour / offer.on_demand_usd_per_hour):.0f}%"
        if offer.on_demand_usd_per_hour and offer.market == "spot"
        else ""
    )
    return (
        offer.instance_type,
        offer.zone,
        offer.market,
        f"{offer.price_usd_per_hour:.4f}",
        f"{offer.expected.total_usd:.4f}" if offer.expected else "",
        f"{offer.expected.interruptions:.4f}" if offer.expected else "",
        saved,
        str(offer.vcpus),
        f"{offer.memory_bytes / 2**30:.0f}",
        gpu,
        _age(offer),
    )


def _age(offer: Offer) -> str:
    if offer.source == "snapshot":
        return f"snapshot of {offer.priced_at:%Y-%m-%d}"
    return f"{offer.source}, {render.age(offer.priced_at)} old"


def _about(offers: Sequence[Offer], assumptions: Assumptions | None, notice: NoticeCheck | None) -> list[str]:
    """What the run is expected to cost in the best pool, what that rests on, and the two-minute check."""
    expected = offers[0].expected if offers else None
    lines = []
    if expected is not None and assumptions is not None:
        lines.append(
            f"run      {expected.total_usd:.4f} USD expected for {assumptions.work_hours:g} h of work: work"
            f" {expected.work_usd:.4f} + setup {expected.setup_usd:.4f} + {expected.interruptions:.4f} interruptions"
            f" {expected.interruptions_usd:.4f}"
        )
        size = "unknown" if assumptions.upload_bytes is None else render.size(assumptions.upload_bytes)
        lines.append(
            f"         with {_told(assumptions.boot_s, 's')} to boot, {size} to send at"
            f" {_told(assumptions.upload_bytes_per_s, 'B/s')}, a checkpoint every"
            f" {_told(assumptions.checkpoint_interval_s, 's')}"
        )
    if notice is not None:
        lines.append(
            f"notice   a checkpoint of {render.size(int(notice.checkpoint_bytes.value))}"
            f" ({notice.checkpoint_bytes.source}) is home in {notice.seconds:.1f} of {notice.limit_s:.0f} s at"
            f" {_told(notice.bytes_per_s, 'B/s')}"
        )
    return lines


def _told(figure: Measured, unit: str) -> str:
    value = f"{figure.value:.0f} s" if unit == "s" else f"{render.size(int(figure.value))}/s"
    return f"{value} ({figure.source})"


def _hourly(offer: Offer) -> CostEstimate:
    return offer.expected.hourly if offer.expected else cost.estimate(offer.price_usd_per_hour, 0, offer.region)


def _budget(max_cost_usd: float, best: CostEstimate, dearest: CostEstimate) -> str:
    hours, fewest = (cost.hours_for(max_cost_usd, each) or 0.0 for each in (best, dearest))
    return (
        f"budget   {max_cost_usd:g} USD buy {hours:.2f} h at {best.total_usd_per_hour:.4f} USD an hour,"
        f" {fewest:.2f} h in the dearest pool at {dearest.total_usd_per_hour:.4f}"
    )


def print_json(plan: Plan) -> None:
    """One `plan` event."""
    best = plan.offers[0].expected
    render.print_json(
        {
            "event": "plan",
            "place": plan.place,
            "offers": plan.offers,
            "image": plan.image,
            "cost": plan.cost,
            "dearest": plan.dearest,
            "hours": plan.hours,
            "expected_usd": best.total_usd if best else None,
            "max_cost_usd": plan.max_cost_usd,
            "assumptions": _assumptions_json(plan.assumptions),
            "notice": _notice_json(plan.notice),
            "snapshot_date": plan.snapshot_date,
            "warnings": plan.warnings,
        }
    )


def survey_json(found: Survey, notice: NoticeCheck | None, limit: int) -> dict[str, Any]:
    """What is on offer, with every figure that the order rests on."""
    return {
        "offers": found.offers[:limit],
        "found": len(found.offers),
        "assumptions": _assumptions_json(found.assumptions),
        "notice": _notice_json(notice),
        "snapshot_date": found.snapshot_date,
        "warnings": found.warnings,
    }


def _assumptions_json(assumptions: Assumptions | None) -> dict[str, Any] | None:
    if assumptions is None:
        return None
    return {
        "work_hours": assumptions.work_hours,
        "boot_s": assumptions.boot_s,
        "upload_bytes": assumptions.upload_bytes,
        "upload_bytes_per_s": assumptions.upload_bytes_per_s,
        "upload_s": assumptions.upload_s,
        "checkpoint_interval_s": assumptions.checkpoint_interval_s,
        "setup_s": assumptions.setup_s,
        "restart_s": assumptions.restart_s,
    }


def _notice_json(notice: NoticeCheck | None) -> dict[str, Any] | None:
    if notice is None:
        return None
    return {
        "checkpoint_bytes": notice.checkpoint_bytes,
        "bytes_per_s": notice.bytes_per_s,
        "seconds": notice.seconds,
        "limit_s": notice.limit_s,
        "fits": notice.fits,
    }
