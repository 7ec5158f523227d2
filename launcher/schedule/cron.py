"""Five-field cron in a time zone: when it fires.

Times on the wall come from the library cronsim; what they are in the zone is decided here, by the rule of Debian's
cron(8). A time that the clocks skip fires at the first moment after the gap; one that they repeat fires once, the first
time. A `*` in front of the minute or the hour means "all the time" instead: such an entry fires whenever the clocks
show a time that it names, in both turns of a repeated hour.
"""

from __future__ import annotations

import os
import zoneinfo
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from heapq import heappop, heappush
from pathlib import Path

from cronsim import CronSim, CronSimError

from launcher.errors import SpecError

FIELDS = (
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of the month", "1-31 or L"),
    ("month", "1-12 or JAN-DEC"),
    ("day of the week", "0-7 or SUN-SAT, 0 and 7 are Sunday"),
)
EXAMPLE = '--cron "0 3 * * 1", Mondays at 3:00'
SHOWN = 5
LONGEST_REPEAT = timedelta(hours=4)
"""No clocks have been turned back further since there are standard times."""
FIRST_LOOK_BACK = timedelta(hours=1)
COUNT_LIMIT = 1000
"""Nobody counts further how many fire times were missed."""
_START = datetime(2024, 1, 1)  # noqa: DTZ001 - any will do, to read an entry with


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """An entry that fires at some time at least, in a zone that exists."""

    text: str
    zone: str

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The fire times after a moment, in UTC, each once, in order."""
        here = zone(self.zone)
        begin = moment.astimezone(here).replace(tzinfo=None) - LONGEST_REPEAT
        last, waiting = moment, list[datetime]()
        for wall in CronSim(self.text, begin):
            for fires in self._moments(wall, here):
                heappush(waiting, fires)
            # What is repeated comes in two turns: the first is over before anything of the second is told.
            while waiting and waiting[0] <= _instant(wall, here):
                fires = heappop(waiting)
                if fires > last:
                    last = fires
                    yield fires
        yield from sorted({fires for fires in waiting if fires > last})

    def next(self, moment: datetime) -> datetime | None:
        """The first fire time after a moment; `None` where there is none in fifty years."""
        return next(self.after(moment), None)

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The last fire time in (after, until], looking back no further than it must."""
        span = FIRST_LOOK_BACK
        while True:
            begin = max(after, until - span)
            found = deque(self._between(begin, until), maxlen=1)
            if found or begin == after:
                return found.pop() if found else None
            span *= 4

    def count(self, after: datetime, until: datetime) -> int:
        """How many fire times lie in (after, until], at most COUNT_LIMIT."""
        return sum(1 for _ in zip(range(COUNT_LIMIT), self._between(after, until), strict=False))

    def local(self, moment: datetime) -> datetime:
        """A moment as the clocks of the zone show it."""
        return moment.astimezone(zone(self.zone))

    def _moments(self, wall: datetime, here: zoneinfo.ZoneInfo) -> set[datetime]:
        """When it fires for a time on the wall, which may be shown once, twice or never."""
        if self._keeps_pace:
            return {_instant(wall, here, fold) for fold in (0, 1) if _shown(wall, here, fold)}
        while not _shown(wall, here):
            wall += timedelta(minutes=1)
        return {_instant(wall, here)}

    @property
    def _keeps_pace(self) -> bool:
        minute, hour, *_ = self.text.split()
        return minute.startswith("*") or hour.startswith("*")

    def _between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        for fires in self.after(after):
            if fires > until:
                return
            yield fires


def parse(text: str, zone_name: str) -> Cron:
    """An entry as a user writes it; raises `SpecError` that tells which field is wrong."""
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise SpecError(
            f"--cron {text!r:.100} has {len(fields)} fields, expected 5: minute, hour, day of the month, month, "
            "day of the week",
            hint=EXAMPLE,
        )
    for place, field in enumerate(fields):
        _check_field(text, place, field)
    zone(zone_name)
    cron = Cron(text=" ".join(fields), zone=zone_name)
    try:
        first = cron.next(datetime.now(UTC))
    except CronSimError:
        first = None
    if first is None:
        raise SpecError(f"--cron {text!r:.100} never fires: no such day exists", hint=EXAMPLE)
    return cron


@cache
def zone(name: str) -> zoneinfo.ZoneInfo:
    """A zone of the IANA database by its name; raises `SpecError`."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as fault:
        raise _no_zone(name) from fault


def local_zone() -> str:
    """The name of this machine's zone, UTC where it tells none: TZ, else where /etc/localtime leads (localtime(5))."""
    named = os.environ.get("TZ", "").removeprefix(":")
    linked = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2]
    for name in (named, linked):
        with suppress(SpecError):
            if name:
                return zone(name).key
    return "UTC"


def _instant(wall: datetime, here: zoneinfo.ZoneInfo, fold: int = 0) -> datetime:
    return wall.replace(tzinfo=here, fold=fold).astimezone(UTC)


def _shown(wall: datetime, here: zoneinfo.ZoneInfo, fold: int = 0) -> bool:
    """Whether the clocks ever show it."""
    return _instant(wall, here, fold).astimezone(here).replace(tzinfo=None, fold=0) == wall


def _check_field(text: str, place: int, field: str) -> None:
    entry = ["*"] * len(FIELDS)
    entry[place] = field
    try:
        CronSim(" ".join(entry), _START)
    except (CronSimError, ValueError, AssertionError, TypeError) as fault:
        name, expected = FIELDS[place]
        raise SpecError(
            f"--cron {text!r:.100}: field {place + 1}, the {name}: {field!r:.40} is not {expected}, with * , - and /",
            hint=EXAMPLE,
        ) from fault


def _no_zone(name: str) -> SpecError:
    known = zoneinfo.available_timezones()
    wanted = name.strip().replace(" ", "_").casefold()
    same = [each for each in known if each.casefold() == wanted or each.casefold().endswith(f"/{wanted}")]
    near = sorted(same) or get_close_matches(name, sorted(known), n=3, cutoff=0.6)
    meant = f"; did you mean {', '.join(near[:3])}?" if near else ""
    return SpecError(f"--tz {name!r:.60}: there is no such time zone{meant}", hint="--tz Europe/Madrid")
