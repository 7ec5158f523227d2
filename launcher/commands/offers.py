"""`gpurun offers`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.commands import options, planning, session
from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.domain import JobSpec
    from launcher.spec import Overrides


def command(
    *,
    gpu: Annotated[str | None, typer.Option(help="Kind and count, such as t4 or a10g:2.")] = None,
    gpu_memory_gib: Annotated[
        float, typer.Option(help="Memory of one GPU, at least.", min=0, max=1_000_000, callback=options.finite)
    ] = 0,
    vcpus: Annotated[int, typer.Option(help="At least so many.", min=0)] = 0,
    memory_gib: Annotated[
        float, typer.Option(help="At least so much.", min=0, max=1_000_000, callback=options.finite)
    ] = 0,
    architecture: Annotated[str | None, typer.Option(help="x86_64 or arm64.")] = None,
    instance_type: Annotated[list[str] | None, typer.Option(help="Only this type; repeatable.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="In this region; repeatable; all: every one.")] = None,
    zone: Annotated[list[str] | None, typer.Option(help="In this zone; repeatable.")] = None,
    spot: Annotated[str | None, typer.Option(help="true, false or prefer.")] = None,
    max_hours: Annotated[float | None, typer.Option(help="Hours of work to price; default 4.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="US dollars: how many hours they buy.")] = None,
    max_price: Annotated[float | None, typer.Option(help="US dollars per hour for a machine.")] = None,
    data_size: Annotated[str, typer.Option(help="What goes up, such as '2 GB'.")] = "0",
    checkpoint_size: options.CheckpointSize = None,
    limit: Annotated[int, typer.Option(help="Rows.", min=1)] = 20,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """List machines that fit by the expected cost of a run, with live prices and their age."""
    from launcher import plan, render, spec
    from launcher.commands import planview

    flags = spec.Overrides(
        gpu=gpu,
        architecture=architecture,
        instance_types=tuple(instance_type or ()),
        regions=tuple(region or ()),
        zones=tuple(zone or ()),
        spot=spot,
        max_hours=max_hours,
        max_cost=max_cost,
        max_price=max_price,
    )
    job = _job(flags, vcpus, memory_gib, gpu_memory_gib)
    upload_bytes = _size_bytes(data_size)
    account = session.account(sandbox=sandbox, profile=profile, region=planning.home_region(region))
    with session.ledger() as book:
        known = planning.known(book, account, job.name, checkpoint_size)
        aws = planning.cloud(account, job.resources, rehearsal=True)
        found = plan.survey(job, aws, book.cache, known=known, rehearsal=True, upload_bytes=upload_bytes)
    notice = plan.notice_check(job, known)
    if as_json:
        render.print_json(planview.survey_json(found, notice, limit), indent=1)
    else:
        sys.stdout.write(planview.survey_text(job, found, notice, rows=limit) + "\n")


def _job(flags: Overrides, vcpus: int, memory_gib: float, gpu_memory_gib: float) -> JobSpec:
    """A job that stands for any: the flags as a spec would have them, with the same checks."""
    from launcher import spec
    from launcher.domain import Device, JobSpec

    anything = JobSpec(name="offers", argv=("true",), workdir=Path.cwd(), device=Device.CPU)
    asked = spec.override(anything, flags)
    resources = replace(
        asked.resources,
        vcpus=vcpus,
        memory_bytes=int(memory_gib * 2**30),
        gpu_memory_bytes=int(gpu_memory_gib * 2**30) or asked.resources.gpu_memory_bytes,
    )
    return replace(asked, resources=resources)


def _size_bytes(text: str) -> int:
    from launcher.spec import values

    try:
        return 0 if text.strip() == "0" else values.size_bytes(text)
    except ValueError as fault:
        raise SpecError(f"--data-size: {fault}", hint="such as --data-size '2 GB'") from None
