"""A cron entry and the expressions that are said for it fire at the same times, by two programs that share nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import takewhile

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from launcher.deploy import expressions
from launcher.errors import SpecError
from launcher.sandbox.cloud import expressions as cloud
from launcher.schedule import cron


def at(year: int, month: int, day: int) -> datetime:
    """Of no zone, as hypothesis wants its bounds."""
    return datetime(year, month, day, tzinfo=UTC).replace(tzinfo=None)


SPAN = timedelta(weeks=5)
MOST = 60
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@st.composite
def fields(draw, lowest: int, highest: int, names: dict[str, int] | None = None) -> str:
    """One field of an entry: numbers, names, spans and steps."""

    def number() -> str:
        return str(draw(st.integers(lowest, highest)))

    def span() -> str:
        first, last = sorted(draw(st.tuples(st.integers(lowest, highest), st.integers(lowest, highest))))
        return f"{first}-{last}"

    def piece() -> str:
        kind = draw(st.sampled_from(["*", "number", "span", "step", "span step", "name"]))
        step = draw(st.integers(1, highest))
        return {
            "*": lambda: "*",
            "number": number,
            "span": span,
            "step": lambda: f"*/{step}",
            "span step": lambda: f"{span()}/{step}",
            "name": lambda: draw(st.sampled_from(sorted(names))) if names else number(),
        }[kind]()

    return ",".join(piece() for _ in range(draw(st.integers(1, 3))))


ENTRIES = st.tuples(
    fields(0, 59),
    fields(0, 23),
    fields(1, 31),
    fields(1, 12, dict.fromkeys(MONTHS, 0)),
    fields(0, 7, dict.fromkeys(WEEKDAYS, 0)),
).map(" ".join)


def ours(entry: cron.Cron, since: datetime) -> list[datetime]:
    times = takewhile(lambda moment: moment <= since + SPAN, entry.after(since))
    return [moment for _, moment in zip(range(MOST), times, strict=False)]


def theirs(text: str, zone: str, since: datetime):
    """The fire times of one expression, as the sandbox's Scheduler reads it."""
    expression = cloud.parse(text, zone, since.timestamp())
    moment = expression.after(None)
    while moment is not None and moment <= (since + SPAN).timestamp():
        yield datetime.fromtimestamp(moment, UTC)
        moment = expression.after(moment)


def united(told: tuple[str, ...], zone: str, since: datetime) -> list[datetime]:
    found: list[datetime] = []
    for moment in merge(*(theirs(text, zone, since) for text in told)):
        if moment not in found[-1:]:
            found.append(moment)
        if len(found) == MOST:
            break
    return found


@settings(max_examples=250, deadline=None)
@given(
    text=ENTRIES,
    zone=st.sampled_from(["UTC", "Asia/Kolkata", "Asia/Tokyo"]),
    since=st.datetimes(at(2026, 1, 1), at(2029, 1, 1)),
)
@example(text="0 3 1-31 * 1", zone="UTC", since=at(2026, 11, 21))
@example(text="0 3 1 * 0-6", zone="UTC", since=at(2026, 11, 21))
@example(text="0 3 1,15 * 7", zone="UTC", since=at(2026, 11, 21))
@example(text="0 3 29 2 *", zone="UTC", since=at(2028, 2, 1))
def test_both_fire_at_the_same_times(text, zone, since):
    try:
        entry = cron.parse(text, zone)
    except SpecError:
        assume(False)
    moment = since.replace(tzinfo=UTC)
    try:
        told = expressions.of(entry)
    except SpecError:
        told = ()
    if not told:  # a day of both kinds: AWS has no word for it
        day, weekday = text.split()[2], text.split()[4]
        assert "*" in {day[0], weekday[0]}
        assert "*" not in {day, weekday}
        return
    assert all(len(each) <= expressions.LIMIT for each in told)
    assert united(told, zone, moment) == ours(entry, moment)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("0 3 * * 1", ("cron(0 3 ? * 2 *)",)),
        ("0 3 * * 7", ("cron(0 3 ? * 1 *)",)),
        ("0 3 * * 0", ("cron(0 3 ? * 1 *)",)),
        ("*/15 9-17 * * MON-FRI", ("cron(0,15,30,45 9-17 ? * 2-6 *)",)),
        ("* * * * *", ("cron(* * * * ? *)",)),
        ("30 4 1,15 * 5", ("cron(30 4 1,15 * ? *)", "cron(30 4 ? * 6 *)")),
        ("0 0 1-31 * 5", ("cron(0 0 * * ? *)",)),
        # The User Guide's own spellings: L, the month's last day; 6L its last Friday; 2#1 its first Monday.
        ("0 0 L * *", ("cron(0 0 L * ? *)",)),
        ("0 0 * * 5L", ("cron(0 0 ? * 6L *)",)),
        ("0 0 * * 1#1", ("cron(0 0 ? * 2#1 *)",)),
        ("0 0 * * 7#2", ("cron(0 0 ? * 1#2 *)",)),
        # "If you use a '#' character, you can define only one expression in the day-of-week field."
        ("0 0 * * 1#1,3#2", ("cron(0 0 ? * 2#1 *)", "cron(0 0 ? * 4#2 *)")),
        ("0 0 * * 1,5L", ("cron(0 0 ? * 2 *)", "cron(0 0 ? * 6L *)")),
        ("0 0 * * 1,1#1", ("cron(0 0 ? * 2 *)",)),
        ("0 0 1,L * *", ("cron(0 0 1 * ? *)", "cron(0 0 L * ? *)")),
        ("0 0 1 JAN,JUL *", ("cron(0 0 1 1,7 ? *)",)),
    ],
)
def test_as_it_is_spelt(entry, told):
    assert expressions.of(cron.parse(entry, "UTC")) == told


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("0 0 */2 * 1", "a day of the month that is a day of the week too"),
        ("0 0 13 * */5", "a day of the month that is a day of the week too"),
        ("0 0 LW * *", "no last weekday"),
    ],
)
def test_what_cannot_be_said_is_refused(entry, words):
    with pytest.raises(SpecError, match=words) as caught:
        expressions.of(cron.parse(entry, "UTC"))
    assert caught.value.hint


def test_the_longest_fits():
    """Two in a row are no span: of all lists these are the longest."""

    def pairs(lowest: int, highest: int) -> str:
        return ",".join(str(each) for each in range(lowest, highest + 1) if (each - lowest) % 3 != 0)

    entry = " ".join([pairs(0, 59), pairs(0, 23), pairs(1, 31), pairs(1, 12), "*"])
    (told,) = expressions.of(cron.parse(entry, "UTC"))
    assert 200 < len(told) <= expressions.LIMIT
