"""Comparisons as JSON, and back."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.compare import stored
from launcher.comparison import Comparison, Crossing, LegResult, Parity, Point, Ratio, SweepPoint, Trial
from launcher.errors import LedgerError
from tests.compare import samples

finite = st.floats(allow_nan=False, allow_infinity=False)
YEARS = {"min_value": datetime(1971, 1, 1), "max_value": datetime(2200, 1, 1)}  # noqa: DTZ001 - the strategy adds it
moments = st.datetimes(timezones=st.just(UTC), **YEARS)


def few(kind: type, **parts: type) -> st.SearchStrategy:
    """One of these with every field drawn, and at most two of its large parts."""
    every: dict = dict.fromkeys((each.name for each in fields(kind)), ...)
    return st.builds(kind, **every | {name: st.lists(drawn(of), max_size=2).map(tuple) for name, of in parts.items()})


@cache
def drawn(kind: type) -> st.SearchStrategy:
    """Deferred, so that the types' strategies are those of the test."""
    return st.deferred(lambda: few(kind, **PARTS[kind]) if kind in PARTS else st.from_type(kind))


PARTS: dict[type, dict[str, type]] = {
    Comparison: {"legs": LegResult, "ratios": Ratio, "parities": Parity, "crossings": Crossing},
    LegResult: {"trials": Trial},
    Trial: {"points": Point},
    Crossing: {"points": SweepPoint},
}


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
@given(data=st.data())
def test_any_comparison_is_the_same_again(data):
    st.register_type_strategy(float, finite)
    st.register_type_strategy(datetime, moments)
    try:
        comparison = data.draw(drawn(Comparison))
        text = stored.dumps(comparison)
    finally:
        st.register_type_strategy(float, st.floats())
        st.register_type_strategy(datetime, st.datetimes())
    assert stored.loads(text) == comparison


@pytest.mark.parametrize("name", samples.every())
def test_the_samples_are_the_same_again(name):
    comparison = samples.every()[name]
    assert stored.from_json(json.loads(stored.dumps(comparison))) == comparison


def test_a_field_of_a_later_version_is_passed_over_and_one_that_lacks_takes_its_default():
    found = stored.to_json(samples.no_gpu()) | {"colour": "green"}
    del found["cited"]
    assert stored.from_json(found).cited == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "broken"),
        ("[]", "no comparison"),
        ("{}", "no comparison"),
        ('{"schema": 99}', "of a newer gpurun"),
        ('{"schema": 1}', "broken"),
        ('{"schema": 1, "legs": 3}', "broken"),
        ("[" * 100_000, "broken"),
    ],
)
def test_what_is_broken_or_newer_is_told(text, message):
    with pytest.raises(LedgerError, match=message) as told:
        stored.loads(text)
    assert told.value.hint


def test_a_value_of_another_type_is_broken():
    found = stored.to_json(samples.no_gpu())
    for name, value in (("repeats", "two"), ("legs", {}), ("created_at", 7), ("target", True), ("command", [1])):
        with pytest.raises(LedgerError, match="broken"):
            stored.from_json(found | {name: value})
