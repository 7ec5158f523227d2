"""`gpurun compare-cpu-gpu`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.commands import options, session
from launcher.errors import Cancelled, SpecError

if TYPE_CHECKING:
    from launcher.compare.groups import Group
    from launcher.compare.kept import Kept
    from launcher.domain import ComparisonWish, JobSpec, RunId
    from launcher.ledger import ComparisonRecord, Ledger

FAILED = 1
"""Some leg failed, ran on another device than it should, or made another number of steps."""


def command(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            help="A spec, a bare script, or models of python -m jobs; after --: arguments.", metavar="SPEC|SCRIPT|MODEL"
        ),
    ] = None,
    *,
    floatx: Annotated[str | None, typer.Option(help="Such as float32,bfloat16.", metavar="LIST")] = None,
    devices: Annotated[str | None, typer.Option(help="cpu, gpu, or cpu,gpu: the default.", metavar="LIST")] = None,
    on: Annotated[
        str | None,
        typer.Option(
            help="same: all on one machine; best: each device on its cheapest; local, ssh://USER@HOST, local+aws.",
            metavar="PLACE",
        ),
    ] = None,
    accept_host_key: options.AcceptHostKey = None,
    instance_types: Annotated[str | None, typer.Option(help="A run on each of these types.", metavar="LIST")] = None,
    repeat: Annotated[int | None, typer.Option(help="Times each leg is run, in turn with the others.")] = None,
    backend: Annotated[str | None, typer.Option(help="tensorflow, jax, torch: some.", metavar="LIST")] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=32..4096 doubles, NAME=10..500:10 steps, NAME=10,50,100 or NAME='2,5;4,10'; repeatable.",
            metavar="NAME=VALUES",
        ),
    ] = None,
    target: Annotated[float | None, typer.Option(help="An error: how long does each leg take to it?")] = None,
    data: Annotated[str | None, typer.Option(help="File, folder or s3:// URI for the job.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the job; repeatable.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the runs.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="Allowed region; repeatable; all: every one.")] = None,
    spot: Annotated[str | None, typer.Option(help="true, false or prefer.")] = None,
    max_hours: Annotated[float | None, typer.Option(help="Each machine ends after so many hours.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="US dollars for all runs together.")] = None,
    outputs: Annotated[str | None, typer.Option(help="Where results go: a folder; default runs/<id>/.")] = None,
    sandbox: options.Sandbox = False,
    yes: options.Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and price, launch nothing.")] = False,
    html: Annotated[Path | None, typer.Option(help="The page; default: beside the results.", metavar="FILE")] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep it in the ledger: done anyhow.")] = False,  # noqa: ARG001 - it says what is done anyhow
    show: Annotated[str | None, typer.Option(help="Tell an earlier one again.", metavar="ID|last")] = None,
    against: Annotated[
        str | None, typer.Option(help="What got worse since that one? Exit 1 if anything.", metavar="ID|last")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List all comparisons.")] = False,
    as_json: options.Json = False,
    profile: options.Profile = None,
) -> int:
    """Run a job on CPU and GPU and tell what the GPU buys: time, dollars, and whether both computed the same.

    \b
    gpurun compare-cpu-gpu train.py
    gpurun compare-cpu-gpu deck-mlp --sandbox --devices cpu --floatx float32,bfloat16
    gpurun compare-cpu-gpu examples/hidden_units.yaml --data FOLDER --on best
    """
    from launcher.commands import comparetell, comparewish

    with session.ledger() as book:
        if list_all:
            comparetell.listed(book, as_json=as_json)
            return 0
        before = book.comparisons.resolve(against) if against is not None else None
        if show is not None and targets:
            raise SpecError(
                f"--show tells an earlier comparison, and would not run {targets[0]}", hint="leave one of them out"
            )
        if show is not None:
            return _show(book.comparisons.resolve(show), before, html, book, as_json=as_json)
        if before is not None and not targets:
            return _show(book.comparisons.resolve("last"), before, html, book, as_json=as_json)
        arguments = {
            "name": name,
            "data": data,
            "env": env,
            "regions": region,
            "spot": spot,
            "max_hours": max_hours,
            "max_cost": max_cost,
            "outputs": outputs,
        }
        comparetell.check_page(html)
        spec, models = comparewish.read(targets or [], arguments)
        flags = comparewish.Flags(
            floatx=floatx,
            devices=devices,
            backend=backend,
            on=on,
            instance_types=instance_types,
            repeat=repeat,
            target=target,
            sweep=tuple(sweep or ()),
        )
        asked = comparewish.wish(spec, flags)
        found, told = _groups(spec, asked, models)
        from launcher.commands import compareplan, comparewrite

        cloud = compareplan.Cloud(
            sandbox=sandbox, profile=profile, region=region, spot=spot, accept_host_key=accept_host_key
        )
        compareplan.check_cloud(found, cloud)
        with session.reporter(as_json=as_json) as reporter:
            began = datetime.now(UTC)
            planned = compareplan.all_of(found, cloud, book, reporter, rehearsal=dry_run)
            earlier = comparetell.earlier(spec.name, book)
            warnings = (*told, *compareplan.doubts(spec, asked, planned, earlier))
            compareplan.show(planned, warnings, repeats=asked.repeats or 1, as_json=as_json)
            if dry_run or not comparewrite.confirmed(planned, skip=yes or sandbox):
                return 0
            asked = replace(asked, title=asked.title or ", ".join(models) or spec.name)
            record, labels = comparewrite.write(spec, asked, planned, warnings, book, reporter, began=began)
        return _attended(record, labels, before, html, book, as_json=as_json)


def _groups(spec: JobSpec, asked: ComparisonWish, models: Sequence[str]) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    """The runs with their legs, and what to tell of legs that are left out."""
    from launcher.aws import catalog
    from launcher.commands import comparewish
    from launcher.compare import groups, legs, places

    axes = comparewish.axes(spec, asked, models)
    wanted = places.places(asked.on, axes.devices, asked.instance_types)
    at, told = places.able(wanted, lambda name: catalog.named_by(name, catalog.GPU_FAMILIES))
    repeats = asked.repeats or 1
    return groups.groups(spec, legs.legs(spec, axes, at, repeats=repeats), repeats=repeats), told


def _attended(
    record: ComparisonRecord,
    labels: dict[RunId, str],
    before: ComparisonRecord | None,
    html: Path | None,
    book: Ledger,
    *,
    as_json: bool,
) -> int:
    from launcher.commands import compareattend

    ending = compareattend.attend(labels, book, as_json=as_json)
    if ending is compareattend.Ending.LEFT:
        with suppress(OSError):  # the terminal may be what went away
            sys.stderr.write(
                f"left: the runs go on by themselves; next: gpurun compare-cpu-gpu --show {record.comparison_id}\n"
            )
        return 0
    status = _show(book.comparisons.resolve(record.comparison_id), before, html, book, as_json=as_json)
    return Cancelled.exit_code if ending is compareattend.Ending.STOPPED else status


def _show(
    record: ComparisonRecord, before: ComparisonRecord | None, html: Path | None, book: Ledger, *, as_json: bool
) -> int:
    """Tell it, its page written; 1 where some leg went wrong, or where something got worse since `before`."""
    from launcher.commands import comparetell
    from launcher.compare import kept, together

    if before is not None and before.comparison_id == record.comparison_id:
        raise SpecError(f"{record.comparison_id} would be compared to itself", hint="--list shows the others")
    asked: Kept = kept.loads(record.request)
    found = comparetell.conclude(record, book)
    comparetell.tell(found, asked, html, book, as_json=as_json)
    worse = before is not None and comparetell.worse(comparetell.conclude(before, book), found, as_json=as_json)
    return FAILED if worse or not together.sound(found) else 0
