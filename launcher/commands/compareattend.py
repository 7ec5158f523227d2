"""Attending the runs of a comparison: written down, launched, watched, let go of or stopped together."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING

from launcher import process
from launcher.commands import session
from launcher.commands.compareview import View
from launcher.compare.children import Children
from launcher.domain import RunStatus
from launcher.errors import LedgerError
from launcher.interrupts import HangUp, Signals, StopAsked

if TYPE_CHECKING:
    from launcher.domain import RunId
    from launcher.ledger import Ledger

TICK_S = 1.0
LOOK_UP_EVERY_S = 0.2


class Choice(StrEnum):
    """What Ctrl-C can mean."""

    STOP = "stop"
    DETACH = "detach"
    KEEP = "keep"


class Ending(StrEnum):
    """How the attendance ended."""

    OVER = "over"
    STOPPED = "stopped"
    LEFT = "left"
    """The runs go on without us."""


_CHOICES = {"s": Choice.STOP, "d": Choice.DETACH, "k": Choice.KEEP, "": Choice.KEEP}


def attend(labels: Mapping[RunId, str], book: Ledger, *, as_json: bool) -> Ending:
    """Launch runs that are written down, each by a process of its own, and watch them to their end."""
    view = View(labels, as_json=as_json)
    signals = Signals(view.note)
    try:
        with signals.installed(), Children() as children:
            for run_id in labels:
                book.release(run_id, os.getpid())
                children.start(run_id, errors=session.state().run(run_id).home / "launcher.log")
            ending = _watch(children, signals, view)
    finally:
        view.close()
    if ending is Ending.STOPPED:
        cancel([*labels], book)
    return ending


def cancel(run_ids: Sequence[RunId], book: Ledger) -> None:
    """Close those that never began: nothing was asked of anybody for them."""
    for run_id in run_ids:
        record = book.get(run_id)
        held = process.alive(record.launcher_pid, record.launcher_started) and record.launcher_pid != os.getpid()
        if record.status is RunStatus.PLANNED and not held:
            with suppress(LedgerError):
                book.advance(run_id, RunStatus.CANCELLED, reason="stopped by the user", launcher_pid=None)


def _watch(children: Children, signals: Signals, view: View) -> Ending:
    ending = Ending.OVER
    while children.living:
        choice = _heard(children, signals, view, stopping=ending is Ending.STOPPED)
        if choice is Choice.DETACH:
            return Ending.LEFT
        if choice is Choice.STOP:
            again = ending is Ending.STOPPED
            view.note(
                "ending the machines at once; what is not home is lost"
                if again
                else "stopping: each job saves what it can, its results come home; once more ends the machines at once"
            )
            children.stop()
            ending = Ending.STOPPED
    return ending


def _heard(children: Children, signals: Signals, view: View, *, stopping: bool) -> Choice:
    """What the launchers say within a second, told; or what a signal means."""
    try:
        with signals.raised():
            ready = children.ready(TICK_S)
    except KeyboardInterrupt:
        return Choice.STOP if stopping else _asked(signals)
    except StopAsked:
        return Choice.STOP
    except HangUp:
        return Choice.DETACH
    for child, event in children.read(ready):
        view.take(child.run_id, event)
    if not ready:
        view.tick()
    return Choice.KEEP


def _asked(signals: Signals) -> Choice:
    try:
        with signals.raised():
            return ask()
    except HangUp:
        return Choice.DETACH
    except (KeyboardInterrupt, StopAsked, OSError, ValueError, AttributeError):  # or nobody there to answer
        return Choice.STOP


def ask() -> Choice:
    """Ask what Ctrl-C meant; where nobody can answer it means stop."""
    if not sys.stdin.isatty():
        return Choice.STOP
    sys.stderr.write("\n[s]top all jobs and fetch their results, [d]etach and let them go on, [k]eep watching? [k] ")
    sys.stderr.flush()
    # A Ctrl-C that comes just before a blocking read would wait for the next key: look up now and then.
    while not select.select([sys.stdin], [], [], LOOK_UP_EVERY_S)[0]:
        pass
    answer = sys.stdin.readline()
    return _CHOICES.get(answer.strip().lower()[:1], Choice.KEEP) if answer else Choice.STOP
