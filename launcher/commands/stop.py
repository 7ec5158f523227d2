"""`gpurun stop`."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher.commands import options, session

if TYPE_CHECKING:
    from launcher.live import LiveRun


def command(run: options.Run = "last") -> int:
    """Stop a run's job gently: SIGTERM, 90 s for a checkpoint, results home, machine ended."""
    from launcher import unattended

    with session.ledger() as book, session.reporter() as reporter:
        record = book.resolve(run)
        if record.status.final:
            sys.stderr.write(f"run {record.run_id} is over: {record.status}\n")
            return 0
        live = session.live_run(record, book, reporter)
        if unattended.attended(live) and record.launcher_pid is not None:
            with suppress(ProcessLookupError):
                os.kill(record.launcher_pid, signal.SIGTERM)
            sys.stderr.write(f"told process {record.launcher_pid}, which attends the run, to stop it\n")
            return 0
        unattended.claim(live)
        return _stop(live)


def _stop(live: LiveRun) -> int:
    from launcher import ending
    from launcher.commands import attending

    attending.show(live, ending.stop(live), as_json=False)
    return 0
