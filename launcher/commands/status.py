"""`gpurun status`."""

from __future__ import annotations

from typing import Annotated

import typer

from launcher.commands import options, standing


def command(
    run: Annotated[str | None, typer.Argument(help="One run, with its events.", metavar="RUN")] = None,
    *,
    as_json: options.Json = False,
    everything: Annotated[bool, typer.Option("--all", help="Every run, not the newest twenty.")] = False,
) -> int:
    """Show runs, and the truth about their machines."""
    return standing.show(run, as_json=as_json, everything=everything)
