"""`gpurun down`."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import typer

from launcher.commands import options, session
from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.ledger import Ledger, RunRecord


def command(run: options.Run = "last", *, yes: options.Yes = False) -> int:
    """End a run's machine now, whatever it does; results that are not home are lost."""
    with session.ledger() as book:
        record = book.resolve(run)
        if record.status.final:
            sys.stderr.write(f"run {record.run_id} is over: {record.status}; nothing of it is left\n")
            return 0
        if not yes and not _sure(record, book):
            return 0
        return _end(record, book)


def _sure(record: RunRecord, book: Ledger) -> bool:
    if record.plan is None or any(event.kind == "fetched" for event in book.events(record.run_id)):
        return True
    if not sys.stdin.isatty():
        message = f"results of run {record.run_id} are not home, and nobody is there to confirm their loss"
        raise SpecError(message, hint=f"gpurun stop {record.run_id} brings them home first; --yes ends it now")
    return typer.confirm(f"Results of {record.run_id} are not home. End its machine?", default=False, err=True)


def _end(record: RunRecord, book: Ledger) -> int:
    from launcher import process, render, teardown
    from launcher.domain import RunStatus

    if record.plan is None:
        book.advance(record.run_id, RunStatus.CANCELLED)
        return 0
    if process.alive(record.launcher_pid, record.launcher_started) and record.launcher_pid is not None:
        # Its launcher would take the vanished machine for a fault and try to help: end it first.
        os.kill(record.launcher_pid, signal.SIGKILL)
    live = session.live_run(record, book, render.reporter(as_json=False))
    fetched = live.has_event("fetched") and record.exit_status == 0
    receipt = teardown.end(live, RunStatus.SUCCEEDED if fetched else RunStatus.CANCELLED, reason=record.reason)
    sys.stderr.write(f"run {record.run_id}: machine terminated; cost {receipt.cost_usd:.4f} USD\n")
    return 0
