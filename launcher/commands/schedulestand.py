"""`gpurun schedule deploy`, `undeploy` and `fire`, as the command line has them."""

from __future__ import annotations

from typing import Annotated

import typer

from launcher.commands import options, session

Name = Annotated[str, typer.Argument(help="A schedule's name.", metavar="NAME")]


def deploy(
    name: Name,
    *,
    only_print: Annotated[bool, typer.Option("--print", help="Show all that would be made, and make nothing.")] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Keep a schedule's time in AWS, with this computer off: machines launch, gate, promote and end by themselves."""
    from launcher.commands import scheduledeploy

    scheduledeploy.deploy(name, only_print=only_print, yes=yes, as_json=as_json)


def undeploy(
    name: Name,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Also its history, logs and results in S3; the weights stay.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(help="Of a schedule that this computer does not know: where its weights are.", metavar="S3_URI"),
    ] = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Remove all that `deploy` made; this computer keeps the time again."""
    from launcher.commands import schedulegone

    if store is not None:
        schedulegone.unknown(
            name,
            store.rstrip("/"),
            session.account(sandbox=sandbox, profile=profile),
            everything=everything,
            yes=yes,
            as_json=as_json,
        )
    else:
        schedulegone.undeploy(name, everything=everything, yes=yes, as_json=as_json)


def fire(folder: str) -> int:
    """What a machine of a deployed schedule runs."""
    from launcher.commands import schedulefire

    return schedulefire.fire(folder)
