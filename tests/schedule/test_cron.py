"""Fire times against croniter and dateutil, which share no code with what gpurun uses, where the clocks change."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise

import pytest
from croniter import croniter
from dateutil import tz
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import SpecError
from launcher.schedule import cron

ZONES = [
    "Europe/Madrid",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Chisinau",
    "Atlantic/Azores",
    "America/New_York",
    "America/Los_Angeles",
    "America/St_Johns",
    "America/Havana",
    "America/Santiago",
    "America/Asuncion",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Jerusalem",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Antarctica/Troll",
]
MINUTE = timedelta(minutes=1)
EDGE = timedelta(hours=4)


@cache
def changes(zone_name: str) -> list[datetime]:
    """The moments of 2023 to 2026 at which the zone's offset changes, by dateutil."""
    days = [datetime(2023, 1, 1, tzinfo=UTC) + step * timedelta(days=1) for step in range(4 * 365)]
    quarters = [
        day + step * 15 * MINUTE
        for day, following in pairwise(days)
        if offset(day, zone_name) != offset(following, zone_name)
        for step in range(97)
    ]
    return [late for early, late in pairwise(quarters) if offset(early, zone_name) != offset(late, zone_name)]


def offset(moment: datetime, zone_name: str) -> timedelta | None:
    return moment.astimezone(tz.gettz(zone_name)).utcoffset()


def expected(text: str, zone_name: str, begin: datetime, end: datetime) -> list[datetime]:
    """By croniter's word on the times of the wall, and the rule in cron.py's head."""
    zone = tz.gettz(zone_name)
    walls = on_the_wall(text, begin.astimezone(zone).replace(tzinfo=None), end.astimezone(zone).replace(tzinfo=None))
    minute, hour, *_ = text.split()
    if minute.startswith("*") or hour.startswith("*"):
        moments = minutes(begin + MINUTE, end)
        return [each for each in moments if each.astimezone(zone).replace(tzinfo=None) in walls]
    found = {first_valid(wall.replace(tzinfo=zone, fold=0), zone) for wall in walls}
    return sorted(each for each in found if begin < each <= end)


def on_the_wall(text: str, begin: datetime, end: datetime) -> set[datetime]:
    """The times of no zone at all, with room on both sides for a change of the clocks."""
    times = croniter(text, begin - EDGE)
    found = set()
    while (wall := times.get_next(datetime)) <= end + EDGE:
        found.add(wall)
    return found


def first_valid(named: datetime, zone) -> datetime:
    while not tz.datetime_exists(named):
        named = (named.replace(tzinfo=None) + MINUTE).replace(tzinfo=zone, fold=0)
    return named.astimezone(UTC)


def minutes(begin: datetime, end: datetime) -> list[datetime]:
    first = begin.replace(second=0, microsecond=0)
    return [first + step * MINUTE for step in range(int((end - first) / MINUTE) + 1)]


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    one = st.integers(low, high).map(str)
    # Two numbers: croniter 7.0.0 takes 0-0 for *.
    pair = st.lists(st.integers(low, high), min_size=2, max_size=2, unique=True).map(sorted)
    return st.one_of(
        st.just("*"),
        one,
        st.lists(st.integers(low, high), min_size=2, max_size=4, unique=True).map(
            lambda each: ",".join(map(str, each))
        ),
        pair.map(lambda each: f"{each[0]}-{each[1]}"),
        st.tuples(pair, st.integers(1, 9)).map(lambda each: f"{each[0][0]}-{each[0][1]}/{each[1]}"),
        st.integers(1, high - low).map("*/{}".format),
    )


entries = st.tuples(
    numbers(0, 59),
    st.one_of(numbers(0, 4), numbers(0, 23)),
    st.just("*"),
    st.one_of(st.just("*"), numbers(1, 12)),
    st.one_of(st.just("*"), st.integers(0, 6).map(str), st.just("1-5")),
).map(" ".join)


@pytest.mark.parametrize("zone_name", ZONES)
@settings(max_examples=10, deadline=None)
@given(data=st.data(), text=entries)
def test_fire_times_where_the_clocks_change(zone_name: str, data: st.DataObject, text: str) -> None:
    change = data.draw(st.sampled_from(changes(zone_name)))
    begin = change + data.draw(st.integers(-300, 120)) * MINUTE
    end = change + timedelta(hours=4)
    entry = cron.parse(text, zone_name)
    found = []
    for fires in entry.after(begin):
        if fires > end:
            break
        found.append(fires)
    assert found == expected(text, zone_name, begin, end)
    assert entry.latest(begin, end) == (found[-1] if found else None)
    assert entry.count(begin, end) == min(len(found), cron.COUNT_LIMIT)


@pytest.mark.parametrize(
    ("text", "begin", "first"),
    [
        ("30 2 * * *", "2026-03-29T00:00+00:00", ["2026-03-29T01:00+00:00", "2026-03-30T00:30+00:00"]),
        ("0,30 2 * * *", "2026-03-29T00:00+00:00", ["2026-03-29T01:00+00:00", "2026-03-30T00:00+00:00"]),
        ("30 2 * * *", "2026-10-24T22:00+00:00", ["2026-10-25T00:30+00:00", "2026-10-26T01:30+00:00"]),
        ("30 2 * * *", "2026-10-25T01:10+00:00", ["2026-10-26T01:30+00:00"]),
        ("30 * * * *", "2026-10-25T00:10+00:00", ["2026-10-25T00:30+00:00", "2026-10-25T01:30+00:00"]),
        ("* 2 25 10 *", "2026-10-25T00:59+00:00", ["2026-10-25T01:00+00:00", "2026-10-25T01:01+00:00"]),
        ("0 3 * * 1", "2026-11-21T12:00+00:00", ["2026-11-23T02:00+00:00"]),
    ],
)
def test_madrid(text: str, begin: str, first: list[str]) -> None:
    times = cron.parse(text, "Europe/Madrid").after(datetime.fromisoformat(begin))
    assert [next(times) for _ in first] == [datetime.fromisoformat(each) for each in first]


def test_where_the_clocks_skip_midnight() -> None:
    """cronsim's own zones are not used: its 2.8 fires `* 0` at 1:00 there, and `* 1` not at all."""
    night = datetime(2023, 3, 12, 4, 59, tzinfo=UTC)
    after = [cron.parse(text, "America/Havana").next(night) for text in ("* 1 * * *", "* 0 * * *", "30 0 * * *")]
    assert after == [
        datetime(2023, 3, 12, 5, 0, tzinfo=UTC),
        datetime(2023, 3, 13, 4, 0, tzinfo=UTC),
        datetime(2023, 3, 12, 5, 0, tzinfo=UTC),
    ]


def test_a_long_gap_is_looked_through_from_its_end() -> None:
    entry = cron.parse("* * * * *", "UTC")
    begin, end = datetime(2001, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
    assert entry.latest(begin, end) == end.replace(second=0)
    assert entry.count(begin, end) == cron.COUNT_LIMIT
    assert cron.parse("0 0 29 2 *", "UTC").latest(begin, end) == datetime(2024, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("61 * * * *", "field 1, the minute: '61' is not 0-59"),
        ("* 24 * * *", "field 2, the hour: '24'"),
        ("* * 0 * *", "field 3, the day of the month"),
        ("* * * JANUARY *", "field 4, the month"),
        ("* * * * 9", "field 5, the day of the week"),
        ("5-1 * * * *", "field 1"),
        ("*/0 * * * *", "field 1"),
        ("0 3 * *", "has 4 fields"),
        ("0 0 3 * * *", "has 6 fields"),
        ("", "has 0 fields"),
        ("@daily", "has 1 fields"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4 *", "never fires"),
    ],
)
def test_what_is_no_entry(text: str, told: str) -> None:
    with pytest.raises(SpecError, match="--cron") as caught:
        cron.parse(text, "UTC")
    assert told in caught.value.message
    assert caught.value.hint


@given(st.text(alphabet="0123456789*/,-LW# MONJAN@x", max_size=24))
@settings(max_examples=300, deadline=None)
def test_any_text_is_an_entry_or_a_clear_error(text: str) -> None:
    with suppress(SpecError):
        assert cron.parse(text, "Europe/Madrid").next(datetime.now(UTC)) is not None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Europe/Madird", "Europe/Madrid"),
        ("madrid", "Europe/Madrid"),
        ("New York", "America/New_York"),
        ("../../etc/passwd", "no such time zone"),
        ("", "no such time zone"),
        ("\0", "no such time zone"),
    ],
)
def test_what_is_no_zone(name: str, told: str) -> None:
    with pytest.raises(SpecError, match="--tz") as caught:
        cron.zone(name)
    assert told in caught.value.message


def test_the_zone_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert cron.local_zone() == "Asia/Tokyo"
    monkeypatch.setenv("TZ", "nowhere")
    assert cron.zone(cron.local_zone())
