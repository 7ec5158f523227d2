"""`gpurun resume`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from launcher.commands import options, session


def command(
    run: options.Run = "last",
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Leave once the job runs.")] = False,
    boot_timeout: options.BootTimeout = 240,
    lost_after: options.LostAfter = 300,
    as_json: options.Json = False,
) -> int:
    """Go on with a run that lost its launcher, or was detached: to its log, its results and its end."""
    from launcher.commands import attending
    from launcher.unattended import claim

    with session.ledger() as book, session.reporter(as_json=as_json) as reporter:
        record = book.resolve(run)
        if record.status.final:
            sys.stderr.write(f"run {record.run_id} is over: {record.status}; results in {record.results_dir}\n")
            return record.exit_status or 0
        live = session.live_run(record, book, reporter)
        claim(live)
        return attending.attend(
            live, detach=detach, boot_timeout_s=boot_timeout, lost_after_s=lost_after, as_json=as_json
        )
