"""Ticks that a dead process left: told as failed where no run was made, gone on with where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from launcher import process
from launcher.errors import GpurunError
from launcher.ledger import ScheduleRecord, TickRecord, TickStatus
from launcher.schedule import worker

if TYPE_CHECKING:
    from launcher.domain import RunId
    from launcher.ledger import Ledger

FIRST_RETRY = timedelta(minutes=1)
LAST_RETRY = timedelta(hours=1)
Start = Callable[[ScheduleRecord, TickRecord], None]


def unfinished(book: Ledger, now: datetime, start: Start) -> Iterator[TickRecord]:
    """See after every tick that is not over and in nobody's hands."""
    for tick in book.ticks.unfinished():
        if tick.owner is not None and process.alive(tick.owner.pid, tick.owner.started):
            continue
        run_id = _run(book, tick)
        if run_id is None:
            reason = "the process died before it had made a run"
            if book.ticks.end(tick, TickStatus.FAILED, reason, now):
                yield book.ticks.get(tick.tick_id)
            continue
        if _waits(book, tick, run_id, now):
            continue
        pause = min(FIRST_RETRY * 2 ** min(tick.attempts, 10), LAST_RETRY)
        taken = book.ticks.take_over(tick, worker.this_process(), now + pause)
        if taken is not None:
            begin(book, book.schedules.get(tick.schedule), taken, now, start)
            yield book.ticks.get(tick.tick_id)


def begin(book: Ledger, schedule: ScheduleRecord, tick: TickRecord, now: datetime, start: Start) -> None:
    """Start a tick's process; one that cannot be started is told in its row."""
    try:
        start(schedule, tick)
    except (GpurunError, OSError) as error:
        told = error.message if isinstance(error, GpurunError) else str(error)
        if tick.run_id is None:
            book.ticks.end(tick, TickStatus.FAILED, f"its launcher could not be started: {told}", now)
        else:
            # Its run stays unfinished, and is come back to.
            book.ticks.wait(tick.tick_id, f"its launcher could not be started: {told}")
            book.ticks.hand(tick, worker.NOBODY)


def _run(book: Ledger, tick: TickRecord) -> RunId | None:
    """The run of a tick, also where its process died between making it and saying so."""
    if tick.run_id is not None or tick.owner is None:
        return tick.run_id
    found = book.ticks.run_of(tick.owner)
    if found is not None:
        book.ticks.launched(tick.tick_id, found)
    return found


def _waits(book: Ledger, tick: TickRecord, run_id: RunId, now: datetime) -> bool:
    """Whether somebody attends the run, as `gpurun resume` does, or the last attempt was but a while ago."""
    run = book.get(run_id)
    if process.alive(run.launcher_pid, run.launcher_started):
        return True
    return not run.status.final and now < tick.retry_at
