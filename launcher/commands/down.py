"""`gpurun down`."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from launcher.commands import options, session
from launcher.errors import GpurunError, LedgerError, SpecError

if TYPE_CHECKING:
    from launcher.ledger import Ledger, RunRecord

BETWEEN_SIGNALS_S = 0.5
DISMISS_TIMEOUT_S = 60.0


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
    if any(event.kind == "fetched" for event in book.events(record.run_id)):
        return True
    if not sys.stdin.isatty():
        message = f"results of run {record.run_id} are not home, and nobody is there to confirm their loss"
        raise SpecError(message, hint=f"gpurun stop {record.run_id} brings them home first; --yes ends it now")
    return typer.confirm(f"Results of {record.run_id} are not home. End its machine?", default=False, err=True)


def _end(record: RunRecord, book: Ledger) -> int:
    from launcher import jobend, process, receipt, render, teardown, unattended
    from launcher.commands import attending
    from launcher.domain import RunStatus

    with suppress(LedgerError):  # for whoever ends it: the launcher that is asked to, or this command
        book.event(record.run_id, "given.up")
    if process.alive(record.launcher_pid, record.launcher_started) and record.launcher_pid is not None:
        _dismiss(record.launcher_pid, record.launcher_started)
        record = book.get(record.run_id)
    live = session.live_run(record, book, render.reporter(as_json=False))
    if not record.status.final:
        unattended.claim(live)
        with suppress(GpurunError):  # what S3 has stays there
            jobend.bring_unseen(live)
        over = live.has_event("ending") or live.has_event("fetched")
        status = teardown.deserved(live) if over else RunStatus.CANCELLED
        teardown.end(live, status, reason=record.reason or "ended by the user")
    attending.show(live, receipt.receipt(live), as_json=False)
    return 0


def _dismiss(pid: int, started: str | None) -> None:
    """Have the run's launcher end it: the second SIGTERM means at once. One that does not answer is killed."""
    from launcher import process

    with suppress(ProcessLookupError):
        for number in (signal.SIGTERM, signal.SIGTERM):
            os.kill(pid, number)
            _wait_for_end(pid, started, BETWEEN_SIGNALS_S)
        if process.alive(pid, started) and not _wait_for_end(pid, started, DISMISS_TIMEOUT_S):
            os.kill(pid, signal.SIGKILL)


def _wait_for_end(pid: int, started: str | None, timeout_s: float) -> bool:
    from launcher import process

    limit = time.monotonic() + timeout_s
    while process.alive(pid, started):
        if time.monotonic() >= limit:
            return False
        time.sleep(0.05)
    return True
