"""`gpurun offers`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.commands import options, session

if TYPE_CHECKING:
    from launcher.domain import Requirements


def command(
    *,
    gpu: Annotated[str | None, typer.Option(help="Kind and count, such as t4 or a10g:2.")] = None,
    vcpus: Annotated[int, typer.Option(help="At least so many.", min=0)] = 0,
    memory_gib: Annotated[
        float, typer.Option(help="At least so much.", min=0, max=1_000_000, callback=options.finite)
    ] = 0,
    instance_type: Annotated[list[str] | None, typer.Option(help="Only this type; repeatable.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="In this region; repeatable.")] = None,
    limit: Annotated[int, typer.Option(help="Rows.", min=1)] = 20,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """List machines that fit, cheapest first, with live prices and their age."""
    from launcher import render
    from launcher.aws import offers
    from launcher.aws.client import Aws
    from launcher.commands import planview

    requirements = _requirements(gpu, vcpus, memory_gib, instance_type or [], region or [])
    account = session.account(sandbox=sandbox, profile=profile, region=region[0] if region else None)
    with session.ledger() as book:
        found = sorted(offers.find(Aws(account), requirements, book.cache), key=lambda offer: offer.price_usd_per_hour)
    if as_json:
        render.print_json(found[:limit], indent=1)
        return
    sys.stdout.write(render.table(planview.HEADERS, [planview.row(offer) for offer in found[:limit]]) + "\n")
    if len(found) > limit:
        sys.stdout.write(f"... and {len(found) - limit} more; --limit {len(found)} shows all\n")


def _requirements(gpu: str | None, vcpus: int, memory_gib: float, types: list[str], regions: list[str]) -> Requirements:
    """The flags as a spec would have them, with the same checks."""
    from pathlib import Path

    from launcher import spec
    from launcher.domain import Device, JobSpec

    anything = JobSpec(name="offers", argv=("true",), workdir=Path.cwd(), device=Device.CPU)
    flags = spec.Overrides(gpu=gpu, instance_types=tuple(types), regions=tuple(regions))
    asked = spec.override(anything, flags).resources
    return replace(asked, vcpus=vcpus, memory_bytes=int(memory_gib * 2**30))
