"""`gpurun ssh`."""

from __future__ import annotations

from typing import Annotated

import typer

from launcher.commands import options, session


def command(
    run: options.Run = "last",
    remote: Annotated[list[str] | None, typer.Argument(help="After --: a command instead of a shell.")] = None,
) -> int:
    """Open a shell on a run's machine, host key checked; or run a command there."""
    from launcher import render
    from launcher.attach import reach
    from launcher.sync.pipes import shell_here
    from launcher.sync.ssh import interactive

    with session.ledger() as book:
        live = session.live_run(book.resolve(run), book, render.reporter(as_json=False))
        endpoint = reach(live).endpoint
    live.hang_up()
    if endpoint is None:
        return shell_here(live.state.here / live.layout.home, remote or [])
    return interactive.open_shell(live.paths, run_id=live.run_id, endpoint=endpoint, command=remote or [])
