"""A cron entry as EventBridge Scheduler writes it.

Its fields are minute, hour, day of the month, month, day of the week and year; days of the week count from 1, Sunday,
and one of the two day fields is always `?`. Source: EventBridge Scheduler User Guide, "Schedule types", which also says
what it does when clocks change: a time that they skip does not fire, a time that they repeat fires once.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from cronsim import CronSim

from launcher.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Collection

    from launcher.schedule.cron import Cron

LIMIT = 256
"""Characters of a ScheduleExpression; none of ours is as long, since spans are told as such."""
EVERY_DAY, EVERY_WEEKDAY = set(range(1, 32)), set(range(7))
_START = datetime(2024, 1, 1)  # noqa: DTZ001 - any will do, to read an entry with


def of(cron: Cron) -> tuple[str, ...]:
    """The expressions that fire when the entry does: several where it names several kinds of days, and means any.

    Raises `SpecError` for an entry that the service cannot express.
    """
    parts = CronSim(cron.text, _START)
    minutes, hours = _numbers(parts.minutes, range(60)), _numbers(parts.hours, range(24))
    months = _numbers(parts.months, range(1, 13))
    return tuple(f"cron({minutes} {hours} {day} {months} {weekday} *)" for day, weekday in _days(cron, parts))


def _days(cron: Cron, parts: CronSim) -> list[tuple[str, str]]:
    """(day of the month, day of the week), one of them `?`: each of them fires."""
    weekdays = {each % 7 if isinstance(each, int) else each for each in parts.weekdays}
    every_day, every_weekday = parts.days >= EVERY_DAY, weekdays >= EVERY_WEEKDAY
    by_date = [(each, "?") for each in _dates(cron, parts.days)]
    by_weekday = [("?", each) for each in _weekdays(weekdays)]
    if not parts.day_and:
        return [("*", "?")] if every_day or every_weekday else [*by_date, *by_weekday]
    if every_weekday:
        return by_date
    if every_day:
        return by_weekday
    raise SpecError(
        f"--cron {cron.text!r} wants a day of the month that is a day of the week too, which EventBridge Scheduler "
        "cannot say",
        hint="name one kind of days, or keep the time here: gpurun schedule install",
    )


def _dates(cron: Cron, days: Collection[int]) -> list[str]:
    """`L`, the last day of the month, stands alone: the service documents it in no list."""
    if CronSim.LAST_WEEKDAY in days:
        raise SpecError(
            f"--cron {cron.text!r}: EventBridge Scheduler has no last weekday of a month",
            hint="L is the last day; or keep the time here: gpurun schedule install",
        )
    plain = [day for day in days if day != CronSim.LAST]
    if not plain:
        return ["L"]
    told = _numbers(plain, range(1, 32))
    return [told, "L"] if CronSim.LAST in days and told != "*" else [told]


def _weekdays(weekdays: Collection[int | tuple[int, int]]) -> list[str]:
    """1 is Sunday; `6L` the month's last Friday, `2#1` its first Monday, of which a field may hold but one."""
    plain = {each + 1 for each in weekdays if isinstance(each, int)}
    told = [_numbers(plain, range(1, 8))] if plain else []
    for day, nth in sorted({(day % 7 + 1, nth) for day, nth in (each for each in weekdays if isinstance(each, tuple))}):
        if day not in plain:
            told.append(f"{day}L" if nth == CronSim.LAST else f"{day}#{nth}")
    return told


def _numbers(members: Collection[int], whole: range) -> str:
    """`*` for all of them, else a list, with three and more in a row as a span."""
    if set(members) >= set(whole):
        return "*"
    spans: list[list[int]] = []
    for each in sorted(members):
        if spans and each == spans[-1][-1] + 1:
            spans[-1].append(each)
        else:
            spans.append([each])
    return ",".join(f"{span[0]}-{span[-1]}" if len(span) > 2 else ",".join(map(str, span)) for span in spans)
