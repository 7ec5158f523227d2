"""When schedules are due."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.sandbox.cloud.expressions import parse

MOMENTS = st.integers(1_704_067_200, 1_893_456_000).map(lambda it: datetime.fromtimestamp(it, UTC))
"""From 2024 to 2030."""


def next_after(expression: str, moment: datetime, zone: str = "UTC") -> datetime | None:
    due = parse(expression, zone, moment.timestamp()).after(None)
    return None if due is None else datetime.fromtimestamp(due, UTC)


@pytest.mark.parametrize(
    ("expression", "since", "due"),
    [
        ("cron(0 9 * * ? *)", "2026-11-21T08:00", "2026-11-21T09:00"),
        ("cron(0 9 * * ? *)", "2026-11-21T09:00", "2026-11-22T09:00"),
        ("cron(0/20 * ? * MON-FRI *)", "2026-11-20T23:50", "2026-11-23T00:00"),
        ("cron(15 10 1,15 JAN ? 2027-2028)", "2026-11-21T00:00", "2027-01-01T10:15"),
        ("cron(0 0 29 2 ? *)", "2026-01-01T00:00", "2028-02-29T00:00"),
        ("cron(0 0 1 1 ? 2020)", "2026-01-01T00:00", None),
    ],
)
def test_cron(expression, since, due):
    wanted = None if due is None else datetime.fromisoformat(due).replace(tzinfo=UTC)
    assert next_after(expression, datetime.fromisoformat(since).replace(tzinfo=UTC)) == wanted


def test_a_cron_in_a_time_zone():
    found = next_after("cron(0 9 * * ? *)", datetime(2026, 7, 1, tzinfo=UTC), "Europe/Vienna")
    assert found == datetime(2026, 7, 1, 7, tzinfo=UTC)


@given(MOMENTS, st.integers(0, 59), st.integers(0, 23), st.integers(1, 7))
def test_a_weekly_cron_comes_within_a_week_on_its_day(moment, minute, hour, weekday):
    found = next_after(f"cron({minute} {hour} ? * {weekday} *)", moment)
    assert found is not None
    assert moment < found <= moment + timedelta(days=7)
    assert (found.minute, found.hour, found.isoweekday() % 7 + 1) == (minute, hour, weekday)


@given(MOMENTS)
def test_at_is_due_once(moment):
    expression = parse(f"at({moment:%Y-%m-%dT%H:%M:%S})", "UTC", 0.0)
    assert expression.after(None) == moment.timestamp()
    assert expression.after(moment.timestamp()) is None


@given(st.text(max_size=30))
def test_nonsense_is_refused_and_nothing_else_happens(text):
    for wrapped in (text, f"at({text})", f"rate({text})", f"cron({text})"):
        with suppress(ValueError):
            parse(wrapped, "UTC", 0.0)
