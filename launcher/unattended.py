"""Taking a run over: never while another launcher of this laptop has it."""

from __future__ import annotations

import os

from launcher import process
from launcher.errors import LedgerError
from launcher.live import LiveRun


def attended(live: LiveRun) -> bool:
    """Whether another living launcher works on the run."""
    return process.alive(live.record.launcher_pid, live.record.launcher_started)


def claim(live: LiveRun) -> None:
    """Make sure that nobody else drives the run.

    Raises `LedgerError` naming the process that does.
    """
    mine = process.started(os.getpid()) or ""
    if not live.ledger.claim(live.run_id, os.getpid(), mine, alive=process.alive):
        live.refresh()
        raise LedgerError(
            f"process {live.record.launcher_pid} is attending run {live.run_id}",
            hint=f"gpurun logs {live.run_id} -f watches it, gpurun stop {live.run_id} stops it",
        )
    live.refresh()
