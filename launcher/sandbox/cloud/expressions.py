"""When a schedule is due: `at(...)`, `rate(...)` and `cron(...)`.

Source: EventBridge Scheduler User Guide, "Schedule types".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_CRON = re.compile(r"cron\(([^()]+)\)")
_UNIT_S = {"minute": 60, "hour": 3600, "day": 86400}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_YEARS = (1970, 2199)
_SEARCHED_DAYS = 366 * 8
"""A day that a cron expression names comes within eight years, or is taken never to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """Once; in seconds since 1970."""

    time: float

    def after(self, moment: float | None) -> float | None:
        """The time, unless it has been."""
        return self.time if moment is None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Every so often, from the moment it was made."""

    period_s: float
    began: float

    def after(self, moment: float | None) -> float | None:
        """The first time is at once."""
        return self.began if moment is None else moment + self.period_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """At every minute whose parts are all among those named, in a time zone."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int] | None
    """Of the month; `None`: any."""
    months: frozenset[int]
    weekdays: frozenset[int] | None
    """1 is Sunday; `None`: any."""
    years: frozenset[int]
    zone: tzinfo
    began: float

    def after(self, moment: float | None) -> float | None:
        """The next minute named; `None` where none comes."""
        since = datetime.fromtimestamp(self.began if moment is None else moment, self.zone)
        for ahead in range(_SEARCHED_DAYS):
            day = since.date() + timedelta(days=ahead)
            weekday = day.isoweekday() % 7 + 1
            if day.year not in self.years or day.month not in self.months:
                continue
            if (self.days is not None and day.day not in self.days) or (
                self.weekdays is not None and weekday not in self.weekdays
            ):
                continue
            for hour in self.hours:
                for minute in self.minutes:
                    found = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone)
                    if found.timestamp() > since.timestamp():
                        return found.timestamp()
        return None


Expression = At | Rate | Cron


def parse(text: str, zone_name: str, began: float) -> Expression:
    """Read an expression; raises `ValueError`, with the words for the user, where it is none."""
    zone = _zone(zone_name)
    if found := _AT.fullmatch(text):
        try:
            return At(time=datetime.fromisoformat(found[1]).replace(tzinfo=zone).timestamp())
        except (ValueError, OverflowError):
            raise _invalid(text) from None
    if found := _RATE.fullmatch(text):
        if int(found[1]) < 1:
            raise _invalid(text)
        return Rate(period_s=float(int(found[1]) * _UNIT_S[found[2]]), began=began)
    if found := _CRON.fullmatch(text):
        return _cron(text, found[1].split(), zone, began)
    raise _invalid(text)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"Invalid ScheduleExpressionTimezone {name}.") from None


def _invalid(text: str) -> ValueError:
    return ValueError(f"Invalid Schedule Expression {text}.")


def _cron(text: str, parts: list[str], zone: tzinfo, began: float) -> Cron:
    if len(parts) != 6 or (parts[2] == "?") == (parts[4] == "?"):
        raise _invalid(text)
    if re.search(r"[LW#]", parts[2] + parts[4].replace("WED", "")):
        raise ValueError(f"The sandbox knows no L, W and # in {text}: name the days.")
    try:
        return Cron(
            minutes=tuple(sorted(_members(parts[0], 0, 59))),
            hours=tuple(sorted(_members(parts[1], 0, 23))),
            days=None if parts[2] in {"?", "*"} else _members(parts[2], 1, 31),
            months=_members(parts[3], 1, 12, _MONTHS),
            weekdays=None if parts[4] in {"?", "*"} else _members(parts[4], 1, 7, _WEEKDAYS),
            years=_members(parts[5], *_YEARS),
            zone=zone,
            began=began,
        )
    except ValueError:
        raise _invalid(text) from None


def _members(part: str, lowest: int, highest: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    """All numbers that a list of numbers, ranges and steps names; raises `ValueError`."""
    found: set[int] = set()
    for piece in part.split(","):
        span, _, step = piece.partition("/")
        first, _, last = span.partition("-")
        low = lowest if span == "*" else _number(first, lowest, highest, names)
        high = _number(last, lowest, highest, names) if last else (highest if step or span == "*" else low)
        if high < low or (step and int(step) < 1):
            raise ValueError(piece)
        found.update(range(low, high + 1, int(step or 1)))
    return frozenset(found)


def _number(word: str, lowest: int, highest: int, names: tuple[str, ...]) -> int:
    number = names.index(word.upper()) + 1 if word.upper() in names else int(word)
    if not lowest <= number <= highest:
        raise ValueError(word)
    return number
