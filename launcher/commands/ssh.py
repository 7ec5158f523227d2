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
    from launcher import render  # noqa: PLC0415
    from launcher.attach import reach  # noqa: PLC0415
    from launcher.sync import interactive  # noqa: PLC0415

    with session.ledger() as book:
        live = session.live_run(book.resolve(run), book, render.reporter(as_json=False))
    reach(live)
    live.hang_up()
    return interactive.open_shell(live.state, live.run_id, remote or [])
