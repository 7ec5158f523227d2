"""Attending a run from a terminal: the question after Ctrl-C, and the receipt at the end."""

from __future__ import annotations

import select
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from launcher import render, runs
from launcher.errors import LedgerError
from launcher.follow import LOST_AFTER_S

if TYPE_CHECKING:
    from launcher.domain import Receipt
    from launcher.live import LiveRun

LOOK_UP_EVERY_S = 0.2
_CHOICES = {"s": runs.Choice.STOP, "d": runs.Choice.DETACH, "k": runs.Choice.KEEP, "": runs.Choice.KEEP}


def attend(
    live: LiveRun,
    *,
    detach: bool = False,
    boot_timeout_s: float = runs.CONNECT_TIMEOUT_S,
    lost_after_s: float = LOST_AFTER_S,
    as_json: bool,
) -> int:
    """Drive the run to its end and print its receipt; returns the job's exit status."""
    how = runs.Attendance(detach=detach, boot_timeout_s=boot_timeout_s, lost_after_s=lost_after_s, ask=ask)
    try:
        outcome = runs.attend(live, how)
    finally:
        with suppress(LedgerError):
            live.note_calls()  # of a run that goes on without us
    if outcome.receipt is not None:
        show(live, outcome.receipt, as_json=as_json)
    return outcome.exit_status


def ask(live: LiveRun, job_runs: bool) -> runs.Choice:
    """Ask what Ctrl-C meant; where nobody can answer it means stop."""
    if not sys.stdin.isatty():
        return runs.Choice.STOP
    if job_runs:
        question = "[s]top the job and fetch its results, [d]etach and let it go on, [k]eep watching? [k] "
    else:
        question = "[s]top and end the machine, [k]eep going? [k] "
    sys.stderr.write(f"\nrun {live.run_id}: {question}")
    sys.stderr.flush()
    # A Ctrl-C that comes just before a blocking read would wait for the next key: look up now and then.
    while not select.select([sys.stdin], [], [], LOOK_UP_EVERY_S)[0]:
        pass
    answer = sys.stdin.readline()
    if not answer:
        return runs.Choice.STOP
    choice = _CHOICES.get(answer.strip().lower()[:1], runs.Choice.KEEP)
    return runs.Choice.KEEP if choice is runs.Choice.DETACH and not job_runs else choice


def show(live: LiveRun, receipt: Receipt, *, as_json: bool) -> None:
    """Print a receipt, with the `time` lines of the job above it."""
    if as_json:
        render.print_json({"event": "receipt", **asdict(receipt)})
        return
    from launcher.sync.usage import time_lines

    lines = time_lines(receipt.usage) if receipt.usage else []
    sys.stderr.write(render.receipt_text(receipt, log_lines=lines) + "\n")
    if live.record.reason:
        sys.stderr.write(f"reason    {live.record.reason}\n")
