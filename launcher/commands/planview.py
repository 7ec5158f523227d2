"""A plan as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher import render

if TYPE_CHECKING:
    from launcher.domain import JobSpec, Offer, Plan


def text(spec: JobSpec, plan: Plan, *, rows: int) -> str:
    """The best pools and what the run costs at most."""
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
    ]
    lines += [f"warning: {warning}" for warning in plan.warnings]
    return "\n".join(lines)


HEADERS = ("pool", "zone", "market", "USD/h", "saves", "vCPU", "GiB", "GPU", "price")


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
        saved,
        str(offer.vcpus),
        f"{offer.memory_bytes / 2**30:.0f}",
        gpu,
        f"{offer.source}, {render.age(offer.priced_at)} old",
    )


def print_json(plan: Plan) -> None:
    """One `plan` event."""
    render.print_json(
        {
            "event": "plan",
            "offers": plan.offers,
            "image": plan.image,
            "cost": plan.cost,
            "hours": plan.hours,
            "max_cost_usd": plan.max_cost_usd,
            "warnings": plan.warnings,
        }
    )
