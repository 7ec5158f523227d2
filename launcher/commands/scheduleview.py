"""Schedules and their ticks, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.ledger import Ledger, ScheduleRecord, TickRecord
    from launcher.schedule.cron import Cron


LAST = 5
"""So many ticks are shown with their schedule."""


def fire_times(cron: Cron, now: datetime) -> list[datetime]:
    """The next five, as the zone's clocks show them."""
    from launcher.schedule.cron import SHOWN

    return [cron.local(each) for each in islice(cron.after(now), SHOWN)]


def next_times(schedule: ScheduleRecord, now: datetime) -> list[datetime]:
    """The same of a schedule; none where it has no cron."""
    from launcher.schedule.engine import cron_of

    return fire_times(cron_of(schedule), now) if schedule.cron else []


def fires_text(times: list[datetime]) -> str:
    """One line for each."""
    return "\n".join(f"          {_clock(each)}" for each in times)


def as_json(book: Ledger, schedule: ScheduleRecord, now: datetime) -> dict[str, Any]:
    """All of a schedule that a program may want."""
    from launcher.schedule import deployed, notice, wish

    last = book.ticks.list(schedule.name, 1)
    asked = wish.of(schedule)
    return {
        "name": schedule.name,
        "spec": schedule.spec,
        "folder": schedule.folder,
        "cron": schedule.cron or None,
        "zone": schedule.zone,
        "on_data_change": schedule.data or None,
        "missed": schedule.missed,
        "store": schedule.store,
        "place": schedule.place,
        "metric": schedule.metric or None,
        "better": schedule.better or None,
        "min_gain": schedule.min_gain or None,
        "canary": asked.canary if asked else None,
        "warm_start": schedule.warm_start or None,
        "notify": [notice.masked(address) for address in wish.notify(schedule)],
        "paused": schedule.paused,
        "deployed": asdict(mark) if (mark := deployed.of(schedule)) else None,
        "created_at": schedule.created_at,
        "next": [] if schedule.paused else next_times(schedule, now),
        "last": tick_json(last[0]) if last else None,
    }


def tick_json(tick: TickRecord) -> dict[str, Any]:
    """A line of the history."""
    names = ("schedule", "cause", "due_at", "taken_at", "ended_at", "status", "run_id", "version", "reason")
    return {name: getattr(tick, name) for name in names}


def table(book: Ledger, now: datetime) -> str:
    """All schedules, a line each."""
    from launcher import render

    rows = [_row(book, schedule, now) for schedule in book.schedules.list()]
    if not rows:
        return "no schedules; make one: gpurun schedule add NAME SPEC --cron '0 3 * * 1'"
    return render.table(("name", "when", "zone", "next", "last", "weights"), rows)


def one(schedule: ScheduleRecord, ticks: Sequence[TickRecord], now: datetime) -> str:
    """All of one schedule, and ticks of it."""
    from launcher.schedule import notice, wish

    lines = [
        f"schedule  {schedule.name}{', paused' if schedule.paused else ''}",
        f"spec      {schedule.spec}",
        f"when      {_when(schedule)}",
        f"missed    {schedule.missed}",
        _stands(schedule),
        f"weights   {schedule.store}",
        f"gate      {wish.text(schedule)}",
    ]
    if schedule.warm_start:
        lines.append(f"begins    with the {schedule.warm_start}'s weights")
    if told := wish.notify(schedule):
        lines.append(f"tells     {', '.join(map(notice.masked, told))}")
    if schedule.cron and not schedule.paused:
        lines += ["next", fires_text(next_times(schedule, now))]
    return "\n".join([*lines, "", history(schedule, ticks)])


def history(schedule: ScheduleRecord, ticks: Sequence[TickRecord]) -> str:
    """Ticks, the newest first."""
    from launcher import render

    rows = [_tick_row(schedule, tick) for tick in ticks]
    if not rows:
        return "it was never due so far"
    return render.table(("due", "cause", "status", "took", "run", "weights", "reason"), rows)


def told(tick: TickRecord) -> str:
    """A tick in a line."""
    what = tick.version or tick.run_id or ""
    rest = ": ".join(part for part in (what, tick.reason) if part)
    return f"{tick.schedule}  {tick.cause}  {tick.status}" + (f"  {rest}" if rest else "")


def _row(book: Ledger, schedule: ScheduleRecord, now: datetime) -> tuple[str, ...]:
    ticks = book.ticks.list(schedule.name, 1)
    times = [] if schedule.paused else next_times(schedule, now)
    kept = next((tick.version for tick in book.ticks.list(schedule.name, 100) if tick.version), "-")
    return (
        schedule.name,
        _when(schedule, short=True),
        schedule.zone if schedule.cron else "-",
        "paused" if schedule.paused else f"{times[0]:%Y-%m-%d %H:%M}" if times else "-",
        _last(schedule, ticks, now),
        kept,
    )


def _stands(schedule: ScheduleRecord) -> str:
    from launcher.schedule import deployed

    mark = deployed.of(schedule)
    if mark is None:
        return f"runs on   {schedule.place}; results below {schedule.folder}/runs"
    return f"deployed  in {mark.region} since {mark.at}; logs and results in {mark.uri}"


def _last(schedule: ScheduleRecord, ticks: Sequence[TickRecord], now: datetime) -> str:
    from launcher.schedule import deployed

    if (mark := deployed.of(schedule)) is not None:
        return f"deployed in {mark.region}"
    return f"{ticks[0].status} {_since(ticks[0], now)}" if ticks else "-"


def _when(schedule: ScheduleRecord, *, short: bool = False) -> str:
    watched = ("new data" if short else f"new data in {schedule.data}") if schedule.data else ""
    zone = "" if short else f" in {schedule.zone}"
    return ", ".join(part for part in (f"{schedule.cron}{zone}" if schedule.cron else "", watched) if part)


def _tick_row(schedule: ScheduleRecord, tick: TickRecord) -> tuple[str, ...]:
    from launcher.schedule.cron import zone

    took = (tick.ended_at - tick.taken_at).total_seconds() if tick.ended_at and tick.run_id else None
    return (
        f"{tick.due_at.astimezone(zone(schedule.zone)):%Y-%m-%d %H:%M}",
        tick.cause,
        tick.status.value,
        f"{took:.0f} s" if took is not None else "-",
        tick.run_id or "-",
        tick.version or "-",
        tick.reason,
    )


def _since(tick: TickRecord, now: datetime) -> str:
    from launcher import render

    return f"{render.age(min(tick.ended_at or tick.taken_at, now.astimezone(UTC)))} ago"


def _clock(moment: datetime) -> str:
    return f"{moment:%a %Y-%m-%d %H:%M %Z}"
