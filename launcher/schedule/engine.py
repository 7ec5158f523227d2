"""One pass over all schedules: what is due is taken, each tick once, and started.

The daemon, the machine's own scheduler and a person call the same function; nothing is known but what the ledger says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from launcher.errors import GpurunError
from launcher.ledger import ScheduleRecord, Tick, TickRecord, TickStatus
from launcher.schedule import deployed, recover, watch, worker
from launcher.schedule.cron import COUNT_LIMIT, Cron

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.ledger import Ledger

ON_TIME = timedelta(minutes=5)
"""A tick that is later was missed."""
Missed = Literal["skip", "run-once"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What a pass acts with."""

    start: Callable[[ScheduleRecord, TickRecord], None]
    """Starts the process that launches a tick's run, or goes on with it, and hands the tick over to it."""
    cloud: Callable[[ScheduleRecord], Aws]
    """Who is asked for data in S3."""
    trouble: Callable[[str], None]
    """Is told what kept a schedule from being looked at; the others are."""


def run_due(book: Ledger, now: datetime, hands: Hands) -> tuple[TickRecord, ...]:
    """Take and start all that is due; gives the ticks that this pass wrote down or went on with."""
    done = list(recover.unfinished(book, now, hands.start))
    for schedule in book.schedules.list():
        if schedule.paused or deployed.of(schedule) is not None:
            continue
        try:
            done += _pass(book, schedule, now, hands)
        except GpurunError as error:
            hands.trouble(f"{schedule.name}: {error.message}")
    return tuple(done)


def run_now(book: Ledger, schedule: ScheduleRecord, now: datetime, hands: Hands) -> TickRecord | None:
    """Take and start a tick that no clock asked for; one that found a run under way is skipped, with its reason."""
    tick = Tick(schedule=schedule.name, cause="now", due_at=now, considered_at=schedule.considered_at)
    return _begin(book, schedule, tick, now, hands)


def next_fire(schedule: ScheduleRecord, now: datetime) -> datetime | None:
    """When the clock makes it due next."""
    if schedule.paused or not schedule.cron:
        return None
    return cron_of(schedule).next(now)


def cron_of(schedule: ScheduleRecord) -> Cron:
    """Its entry, which was checked when the schedule was made."""
    return Cron(text=schedule.cron, zone=schedule.zone)


def _pass(book: Ledger, schedule: ScheduleRecord, now: datetime, hands: Hands) -> list[TickRecord]:
    if schedule.considered_at > now:
        # The clock was put back: fire times that it now has before it come again, and those that were taken are known.
        book.schedules.considered(schedule.name, now)
        schedule = replace(schedule, considered_at=now)
    change = watch.look(book, schedule, now, lambda: hands.cloud(schedule))
    ticks = [_begin(book, schedule, tick, now, hands) for tick in _due(schedule, now, change)]
    return [tick for tick in ticks if tick is not None]


def _begin(book: Ledger, schedule: ScheduleRecord, tick: Tick, now: datetime, hands: Hands) -> TickRecord | None:
    taken = book.ticks.take(tick, worker.this_process(), now)
    if taken is None or taken.status is not TickStatus.TAKEN:
        return taken
    recover.begin(book, schedule, taken, now, hands.start)
    return book.ticks.get(taken.tick_id)


def _due(schedule: ScheduleRecord, now: datetime, change: watch.Change | None) -> list[Tick]:
    """What the clock and the data make due; new data that a tick of the clock finds is trained on in that one."""
    ticks = _fired(schedule, now) if schedule.cron else []
    if change is None:
        return ticks
    by_data = Tick(schedule=schedule.name, cause="data", due_at=now, considered_at=schedule.considered_at)
    if change.problem:
        return [*ticks, replace(by_data, status=TickStatus.FAILED, reason=change.problem)]
    data = change.sha256, change.looks
    if any(tick.status is TickStatus.TAKEN for tick in ticks):
        return [replace(tick, data=data) if tick.status is TickStatus.TAKEN else tick for tick in ticks]
    return [*ticks, replace(by_data, data=data)]


def _fired(schedule: ScheduleRecord, now: datetime) -> list[Tick]:
    """The last fire time since the schedule was last considered, and what became of those before it."""
    cron, since = cron_of(schedule), schedule.considered_at
    last = cron.latest(since, now)
    if last is None:
        return []
    tick = Tick(schedule=schedule.name, cause="cron", due_at=last, considered_at=last)
    before = cron.latest(since, last - timedelta(seconds=1))
    if now - last <= ON_TIME:
        if before is None:
            return [tick]
        told = _missed(cron, since, before)
        if schedule.missed == "skip":
            missed = replace(tick, due_at=before, considered_at=before, status=TickStatus.MISSED, reason=told)
            return [missed, tick]
        return [replace(tick, reason=f"{told}; made up for by this run")]
    told = _missed(cron, since, last)
    if schedule.missed == "skip":
        return [replace(tick, status=TickStatus.MISSED, reason=told)]
    return [replace(tick, reason=f"{told}; made up for by this run")]


def _missed(cron: Cron, since: datetime, last: datetime) -> str:
    count = cron.count(since, last)
    many = f"{count} or more" if count == COUNT_LIMIT else str(count)
    times = "fire time" if count == 1 else "fire times"
    return f"{many} {times} missed up to {cron.local(last):%Y-%m-%d %H:%M}: nobody was there to take them"
