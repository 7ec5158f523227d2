"""When to stop: each rule against the deck's loop, written out."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import early_stopping
from jobs.errors import JobError

VALUES = st.lists(
    st.one_of(st.integers(-5, 5).map(float), st.floats(-10, 10), st.just(math.nan), st.just(math.inf)),
    min_size=1,
    max_size=40,
)


def run(rule: early_stopping.Rule, values: list[float], batches: int = 1) -> tuple[int, int]:
    """(epochs that were trained, the epoch whose weights were kept), by the verdicts alone."""
    kept = 0
    for epoch, value in enumerate(values, start=1):
        verdict = rule.observe(epoch, epoch * batches, value)
        kept = epoch if verdict.improved else kept
        if verdict.stop:
            return epoch, kept
    return len(values), kept


def deck_4_first(values: list[float], patience: int, min_epochs: int) -> tuple[int, int]:
    epochs, impatience, best, kept = 0, 0, math.inf, 0
    while (epochs < min_epochs or impatience < patience) and epochs < len(values):
        epochs += 1
        if values[epochs - 1] < best:
            best, impatience, kept = values[epochs - 1], 0, epochs
        else:
            impatience += 1
    return epochs, kept


def deck_4_second(values: list[float], batches: int, limit: float, factor: float, threshold: float) -> tuple[int, int]:
    best, kept, seen = math.inf, 0, 0
    for epoch, value in enumerate(values, start=1):
        seen += batches
        if value < best:
            if best == math.inf or (best - value) > threshold * abs(best):
                limit = max(limit, factor * seen)
            best, kept = value, epoch
        if seen > limit:
            return epoch, kept
    return len(values), kept


def deck_2(values: list[float], patience: int) -> tuple[int, int]:
    best, kept = math.inf, 0
    for epoch, value in enumerate(values, start=1):
        if value < best:
            best, kept = value, epoch
        elif kept + patience < epoch:
            return epoch, kept
    return len(values), kept


@given(VALUES, st.integers(1, 8), st.integers(0, 20))
def test_the_first_rule_of_deck_4(values: list[float], patience: int, min_epochs: int):
    rule = early_stopping.make("early-1", patience=patience, min_epochs=min_epochs)
    assert run(rule, values) == deck_4_first(values, patience, min_epochs)


@given(VALUES, st.integers(1, 60), st.integers(1, 200), st.sampled_from([1.5, 2.0]), st.sampled_from([0.0, 0.005, 0.5]))
def test_the_second_rule_of_deck_4(values: list[float], batches: int, limit: int, factor: float, threshold: float):
    rule = early_stopping.make("early-2", first_limit=limit, factor=factor, threshold=threshold)
    assert run(rule, values, batches) == deck_4_second(values, batches, limit, factor, threshold)


@given(VALUES, st.integers(0, 8))
def test_the_rule_of_deck_2(values: list[float], patience: int):
    assert run(early_stopping.make("since-best", patience=patience), values) == deck_2(values, patience)


@given(VALUES, st.sampled_from(list(early_stopping.RULES)), st.data())
def test_a_state_that_went_through_a_checkpoint_goes_on_as_if_nothing_had_happened(values, name: str, data):
    options = {"first_limit": 4} if name == "early-2" else {"patience": 3}
    cut = data.draw(st.integers(0, len(values)))
    straight, resumed = early_stopping.make(name, **options), early_stopping.make(name, **options)
    expected = [straight.observe(epoch, 2 * epoch, value) for epoch, value in enumerate(values, start=1)]
    got = [resumed.observe(epoch, 2 * epoch, value) for epoch, value in enumerate(values[:cut], start=1)]
    written = json.dumps(resumed.state)
    resumed = early_stopping.make(name, **options)
    resumed.state = json.loads(written)
    got += [resumed.observe(epoch, 2 * epoch, value) for epoch, value in enumerate(values[cut:], start=cut + 1)]
    assert got == expected


def test_what_is_clear_goes_with_the_size_of_the_best():
    small = early_stopping.make("early-2", first_limit=1, threshold=0.1)
    small.observe(1, 1, 0.02)
    assert small.state["limit"] == 2
    small.observe(2, 2, 0.0179)  # 10.5 % less
    assert small.state["limit"] == 4
    assert small.observe(3, 3, 0.0178) == early_stopping.Verdict(improved=True, stop=False)
    assert small.state["limit"] == 4


def test_without_options_the_decks_numbers_hold():
    worse = [1.0, *[2.0] * 500]
    assert run(early_stopping.make("early-1"), worse) == (50, 1)
    assert run(early_stopping.make("since-best"), worse) == (102, 1)
    assert run(early_stopping.make("early-2"), worse, batches=83) == (5000 // 83 + 1, 1)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("early1", {}, "unknown rule of early stopping 'early1'; did you mean 'early-1'?"),
        ("early-1", {"patience": 0}, "patience is 0: expected a whole number of at least 1"),
        ("early-1", {"limit": 3}, "has no option 'limit'"),
        ("early-2", {"factor": 1.0}, "factor is 1.0: expected a number above 1"),
        ("early-2", {"threshold": 1.0}, "threshold is 1.0"),
        ("since-best", {"patience": 1.5}, "patience is 1.5: expected a whole number"),
    ],
)
def test_rules_that_cannot_be_are_refused(name: str, options: dict, expected: str):
    with pytest.raises(JobError, match=re.escape(expected)):
        early_stopping.make(name, **options)
