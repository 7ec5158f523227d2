"""`gpurun offers`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from launcher.commands import options, session


def command(
    *,
    gpu: Annotated[str | None, typer.Option(help="Kind and count, such as t4 or a10g:2.")] = None,
    vcpus: Annotated[int, typer.Option(help="At least so many.", min=0)] = 0,
    memory_gib: Annotated[float, typer.Option(help="At least so much.", min=0)] = 0,
    instance_type: Annotated[list[str] | None, typer.Option(help="Only this type; repeatable.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="In this region; repeatable.")] = None,
    limit: Annotated[int, typer.Option(help="Rows.", min=1)] = 20,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """List machines that fit, cheapest first, with live prices and their age."""
    from launcher import render, spec  # noqa: PLC0415
    from launcher.aws import offers  # noqa: PLC0415
    from launcher.aws.client import Aws  # noqa: PLC0415
    from launcher.commands import planview  # noqa: PLC0415

    requirements = spec.requirements(
        gpu=gpu,
        vcpus=vcpus,
        memory_bytes=int(memory_gib * 2**30),
        instance_types=tuple(instance_type or ()),
        regions=tuple(region or ()),
    )
    account = session.account(sandbox=sandbox, profile=profile, region=region[0] if region else None)
    with session.ledger() as book:
        found = sorted(offers.find(Aws(account), requirements, book.cache), key=lambda offer: offer.price_usd_per_hour)
    if as_json:
        render.print_json(found[:limit], indent=1)
        return
    sys.stdout.write(render.table(planview.HEADERS, [planview.row(offer) for offer in found[:limit]]) + "\n")
    if len(found) > limit:
        sys.stdout.write(f"... and {len(found) - limit} more; --limit {len(found)} shows all\n")
