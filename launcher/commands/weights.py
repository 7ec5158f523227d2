"""`gpurun weights`: versions of trained weights, and which of them is the champion."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from launcher.commands import options, registered, session
from launcher.errors import SpecError

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Keep weights as versions with a pedigree, one of each name the champion.",
)

Store = Annotated[
    str | None,
    typer.Option(help="DIR or s3://BUCKET/PREFIX; default: $GPURUN_WEIGHTS, else ./weights.", metavar="PLACE"),
]
Which = Annotated[str, typer.Argument(help="NAME@3, NAME@champion or NAME@latest.", metavar="NAME[@VERSION]")]
Name = Annotated[str, typer.Argument(help="A model's name.", metavar="NAME")]
Names = Annotated[list[str] | None, typer.Argument(help="Models' names; none: all.", metavar="[NAME]...")]
Why = Annotated[str, typer.Option(help="For the history.", metavar="TEXT")]


@app.command(name="list")
def list_(
    name: Annotated[str, typer.Argument(help="A model's name; none: all models.", metavar="[NAME]")] = "",
    *,
    store: Store = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """List models, or a model's versions with their stages."""
    from launcher.commands import weightsview

    registry = registered.registry(store, sandbox=sandbox, profile=profile)
    _show(weightsview.versions(registry, name) if name else weightsview.models(registry), as_json=as_json)


@app.command()
def show(
    which: Which,
    *,
    store: Store = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """Show a version: files, pedigree, metrics, and its part of the history."""
    from launcher.commands import weightsview

    registry = registered.registry(store, sandbox=sandbox, profile=profile)
    _show(weightsview.one(registry, registry.resolve(which)), as_json=as_json)


@app.command()
def add(
    run: options.Run = "last",
    *,
    name: Annotated[str | None, typer.Option(help="The model's name; default: the run's.", metavar="NAME")] = None,
    parent: Annotated[
        str | None, typer.Option(help="champion, latest or a number: what it was trained on from.", metavar="VERSION")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Further files below the results; may be repeated.", metavar="GLOB")
    ] = None,
    patch: Annotated[bool, typer.Option(help="Keep the code's changes since its commit.")] = True,
    accept_failed: Annotated[bool, typer.Option(help="Also of a run that failed or was stopped.")] = False,
    store: Store = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """Keep a finished run's weights as a new version, a challenger."""
    from launcher.commands import weightsview
    from launcher.registry.enrol import Wish, enrol

    registry = registered.registry(store, sandbox=sandbox, profile=profile)
    state = session.state()
    with session.ledger() as book:
        record = book.resolve(run)
        model = name or record.name
        wish = Wish(
            name=model,
            parent=registry.resolve(f"{model}@{parent}").number if parent else None,
            include=tuple(include or ()),
            patch=patch,
            accept_failed=accept_failed,
        )
        version = enrol(registry, record, book, state, wish=wish, cloud=lambda: session.cloud_of(record))
    _show(weightsview.added(registry, version), as_json=as_json)


@app.command()
def promote(
    which: Which,
    *,
    expect: Annotated[
        str | None,
        typer.Option(help="Only if the champion is this number, or `none`; else exit 6.", metavar="NUMBER"),
    ] = None,
    why: Why = "",
    store: Store = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """Make a version the champion; the one before is retired."""
    from launcher.commands import weightsview
    from launcher.registry import names

    registry = registered.registry(store, sandbox=sandbox, profile=profile)
    wanted = names.parse_address(which, default="")
    version = registry.resolve(wanted)
    change = registry.promote(version.name, version.number, expected_champion=_expected(expect), why=why)
    _show(weightsview.changed(registry, change), as_json=as_json)


@app.command()
def rollback(
    name: Name,
    *,
    to: Annotated[int | None, typer.Option(help="A version's number; default: the champion before.", min=1)] = None,
    why: Why = "",
    store: Store = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """Return to the champion before, to the byte."""
    from launcher.commands import weightsview

    registry = registered.registry(store, sandbox=sandbox, profile=profile)
    _show(weightsview.changed(registry, registry.rollback(name, to, why=why)), as_json=as_json)


@app.command()
def diff(
    one: Which,
    other: Which,
    *,
    store: Store = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """Compare two versions: metrics, spec, pedigree, and every array."""
    from launcher.commands import weightsview
    from launcher.registry.difference import difference

    registry = registered.registry(store, sandbox=sandbox, profile=profile)
    found = difference(registry, registry.resolve(one), registry.resolve(other))
    _show(weightsview.difference(found), as_json=as_json)


@app.command()
def export(
    which: Which,
    *,
    to: Annotated[str, typer.Option(help="pickle, npz or safetensors.", metavar="FORMAT")] = "npz",
    out: Annotated[Path | None, typer.Option(help="A folder; default: the current one.", metavar="DIR")] = None,
    store: Store = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """Write a version's arrays in another format; nothing in them is run."""
    kind = {"pickle": "pkl"}.get(to, to)
    if kind not in registered.FORMATS:
        raise SpecError(
            f"--to {to}: expected pickle, npz or safetensors", hint=f"gpurun weights export {which} --to npz"
        )
    registry = registered.registry(store, sandbox=sandbox, profile=profile)
    registered.lay_out(registry, registry.resolve(which), out or Path(), kind, all_files=False, as_json=as_json)


@app.command()
def verify(
    only: Names = None,
    *,
    store: Store = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> int:
    """Read everything that is kept and compare it with its digests; exit 6 where something is damaged."""
    from launcher.commands import weightsview
    from launcher.registry import verify as everything

    registry = registered.registry(store, sandbox=sandbox, profile=profile)
    found = everything.verify(registry, weightsview.chosen(registry, only))
    _show(weightsview.verified(found), as_json=as_json)
    return 6 if found.findings else 0


@app.command()
def prune(
    only: Names = None,
    *,
    keep: Annotated[
        int, typer.Option(help="How many former champions, and how many of the newest versions.", min=0, max=1_000_000)
    ] = 3,
    grace_h: Annotated[
        float, typer.Option("--grace-hours", help="Leave objects that are younger.", min=0, callback=options.finite)
    ] = 1.0,
    yes: options.Yes = False,
    store: Store = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """Say which old versions would go, and with --yes remove them; never the champion, nor what a rollback needs."""
    from launcher.commands import weightsview
    from launcher.registry import prune as pruning

    registry = registered.registry(store, sandbox=sandbox, profile=profile)
    models = weightsview.chosen(registry, only)
    done = pruning.prune(registry, models, keep=keep, grace_s=grace_h * 3600, rehearsal=not yes)
    _show(weightsview.pruned(done, rehearsal=not yes, grace_h=grace_h), as_json=as_json)


def _expected(text: str | None) -> int | str | None:
    from launcher.registry import names
    from launcher.registry.registry import ANY

    if text is None:
        return ANY
    number = names.parse_number(text)
    if number is None and text != "none":
        raise SpecError(f"--expect {text:.40}: expected a version's number, or none", hint="gpurun weights list NAME")
    return number


def _show(said: tuple[object, str], *, as_json: bool) -> None:
    from launcher import render

    value, text = said
    if as_json:
        render.print_json(value, indent=1)
    else:
        sys.stdout.write(text + "\n")
