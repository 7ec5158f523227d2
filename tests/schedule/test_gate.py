"""What the gate says of every evaluation: honest ones, junk, and those that speak of something else."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import SpecError
from launcher.schedule.gate import ArrayKind, Candidate, Verdict, Wish, judge, parse_gain, schema_of

OURS, THEIRS, ROWS = "1" * 64, "2" * 64, "3" * 64
WISH = Wish(metric="test_error", better="lower")
ARRAYS = {"w.npz": {"kernel": ArrayKind(shape=(64, 10), dtype="float32")}}
SCHEMA = {"input_shape": [64], "classes": 10}
CHALLENGER = Candidate(name="digits@2", arrays=ARRAYS, sha256=frozenset({OURS}), schema=SCHEMA)
CHAMPION = Candidate(name="digits@1", arrays=ARRAYS, sha256=frozenset({THEIRS}), schema=SCHEMA)

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers()
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8) | st.sampled_from([OURS, THEIRS]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["test_error", "sha256", "problem", "loss"]) | st.text(max_size=3), inner)
    ),
    max_leaves=10,
)
junk = json_values | st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("challenger", "champion", "rows_sha256"), json_values)
)


def evaluation(own: object = 0.1, rival: object = 0.2, **more: object) -> dict:
    return {
        "challenger": {"test_error": own, "sha256": OURS},
        "champion": {"test_error": rival, "sha256": THEIRS},
        "rows_sha256": ROWS,
        **more,
    }


def said(found: object, wish: Wish = WISH, challenger: Candidate = CHALLENGER, before: int = 0) -> Verdict:
    return judge(found, wish, challenger, CHAMPION, good_before=before)


def test_the_better_one_is_promoted() -> None:
    verdict = said(evaluation())
    assert (verdict.promote, verdict.good) == (True, True)
    assert verdict.text == "test_error 0.1 against 0.2 of digits@1"


@given(
    own=st.floats(allow_nan=False, allow_infinity=False),
    rival=st.floats(allow_nan=False, allow_infinity=False),
    better=st.sampled_from(["lower", "higher"]),
    gain=st.floats(min_value=0, max_value=10),
    relative=st.booleans(),
)
def test_promotion_is_a_gain_as_it_was_asked_for(
    own: float, rival: float, better: str, gain: float, relative: bool
) -> None:
    wish = Wish(metric="test_error", better=better, min_gain=gain, relative=relative)
    verdict = said(evaluation(own, rival), wish)
    gained = rival - own if better == "lower" else own - rival
    assert verdict.promote == (gained > 0 and gained >= (gain * abs(rival) if relative else gain))
    assert verdict.text
    # Nobody takes the place of one that would take it back.
    back = said(evaluation(rival, own), wish)
    assert not (verdict.promote and back.promote)


@given(found=junk)
def test_junk_promotes_nothing_and_is_told(found: object) -> None:
    for value in (found, json.loads(json.dumps(found))):
        verdict = said(value)
        own = value.get("challenger") if isinstance(value, dict) else None
        rival = value.get("champion") if isinstance(value, dict) else None
        if verdict.promote:
            assert isinstance(own, dict)
            assert isinstance(rival, dict)
            assert (own["sha256"], rival["sha256"]) == (OURS, THEIRS)
            assert math.isfinite(own["test_error"])
            assert isinstance(value["rows_sha256"], str)
        assert verdict.text.isprintable()
        assert judge(value, WISH, CHALLENGER, None).text


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "the run did not evaluate the challenger"),
        ([], "the run did not evaluate the challenger"),
        (evaluation(champion=None), "the run did not evaluate the champion digits@1"),
        (evaluation(champion={"problem": "no\x1b[2J file"}), "could not be evaluated: no?[2J file"),
        (evaluation(champion={"test_error": 0.2, "sha256": OURS}), "other weights than those of digits@1"),
        (evaluation(challenger={"test_error": 0.1, "sha256": THEIRS}), "other weights than those of digits@2"),
        (evaluation(challenger={"test_error": 0.1}), "other weights than those of digits@2"),
        (evaluation(challenger={"test_loss": 0.1, "sha256": OURS}), "has no test_error; it has test_loss"),
        (evaluation("0.1"), "has no test_error; it has no number at all"),
        (evaluation(True), "has no test_error"),
        (evaluation(10**400), "has no test_error"),
        (evaluation(math.nan), "not finite: test_error is nan"),
        (evaluation(-math.inf), "not finite: test_error is -inf"),
        (evaluation(challenger={"test_error": 0.1, "loss": math.nan, "sha256": OURS}), "not finite: loss is nan"),
        (evaluation(rows_sha256=""), "does not say on which rows"),
        (evaluation(0.2), "not better"),
        (evaluation(0.3), "not better"),
    ],
)
def test_what_is_refused(found: object, told: str) -> None:
    verdict = said(found)
    assert (verdict.promote, verdict.good) == (False, False)
    assert told in verdict.text


def test_a_champion_that_is_not_finite_is_no_rival() -> None:
    assert said(evaluation(rival=math.nan)).promote


@pytest.mark.parametrize(
    ("asked", "own", "promoted"),
    [("10%", 0.1801, False), ("10%", 0.18, True), ("0.05", 0.151, False), ("0.05", 0.149, True), ("0", 0.2, False)],
)
def test_the_gain_that_is_asked_for(asked: str, own: float, promoted: bool) -> None:
    amount, relative = parse_gain(asked)
    verdict = said(evaluation(own), replace(WISH, min_gain=amount, relative=relative))
    assert verdict.promote is promoted
    if not promoted and own < 0.2:
        assert "is asked for" in verdict.text


@pytest.mark.parametrize("text", ["", "-1", "%", "1%%", "nan", "inf", "1e999", "one", "0,1", "1 2"])
def test_no_gains(text: str) -> None:
    with pytest.raises(SpecError, match="--min-gain"):
        parse_gain(text)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arrays": {"w.npz": {}}}, "w.npz: kernel is missing, digits@1 has it"),
        ({"arrays": {**ARRAYS, "more.npz": ARRAYS["w.npz"]}}, "more.npz: kernel is new"),
        (
            {"arrays": {"w.npz": {"kernel": ArrayKind(shape=(64, 12), dtype="float32")}}},
            "w.npz: kernel is float32 64 x 12, of digits@1 float32 64 x 10",
        ),
        ({"arrays": {"w.npz": {"kernel": ArrayKind(shape=(64, 10), dtype="float64")}}}, "kernel is float64 64 x 10"),
        (
            {"arrays": {"w.npz": {"kernel": ArrayKind(shape=(64, 10), dtype="float32", finite=False)}}},
            "not finite: w.npz: kernel",
        ),
        ({"schema": {**SCHEMA, "classes": 11}}, "the input schema changed: classes 11, was 10"),
        ({"schema": {**SCHEMA, "columns": 3}}, "the input schema changed: columns 3, was None"),
        ({"schema": {}}, "the input schema changed"),
    ],
)
def test_another_network_does_not_take_the_place(changes: dict, told: str) -> None:
    verdict = said(evaluation(), challenger=replace(CHALLENGER, **changes))
    assert (verdict.promote, verdict.good) == (False, False)
    assert told in verdict.text


def test_a_schema_that_nobody_told_before_has_not_changed() -> None:
    assert judge(evaluation(), WISH, CHALLENGER, replace(CHAMPION, schema={})).promote
    assert schema_of({"schema": "none"}) == {}


def test_the_first_of_its_name() -> None:
    assert judge(None, WISH, CHALLENGER, None).promote
    assert judge(evaluation(champion=None), WISH, CHALLENGER, None).promote
    assert not judge(evaluation(math.nan, champion=None), WISH, CHALLENGER, None).promote
    mistyped = judge(evaluation(champion=None), replace(WISH, metric="test_eror"), CHALLENGER, None)
    assert "has no test_eror; it has test_error" in mistyped.text
    broken = {"w.npz": {"kernel": ArrayKind(shape=(1,), dtype="float32", finite=False)}}
    assert not judge(None, WISH, replace(CHALLENGER, arrays=broken), None).promote


@given(canary=st.integers(1, 5), before=st.integers(0, 6))
def test_so_many_good_ones_in_a_row(canary: int, before: int) -> None:
    verdict = said(evaluation(), replace(WISH, canary=canary), before=before)
    assert verdict.good
    assert verdict.promote == (before + 1 >= canary)
    if not verdict.promote:
        assert f"good, {before + 1} of {canary} in a row" in verdict.text
    bad = said(evaluation(0.3), replace(WISH, canary=canary), before=before)
    assert (bad.promote, bad.good) == (False, False)
