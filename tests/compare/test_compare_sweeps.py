"""What is swept: ranges, lists, points, and what is refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.spec import comparing


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch_size=32..256", ("32", "64", "128", "256")),
        ("batch_size=32..100", ("32", "64", "100")),
        ("units=10,50,100", ("10", "50", "100")),
        ("units=10..40:10", ("10", "20", "30", "40")),
        ("units=10..45:10", ("10", "20", "30", "40", "45")),
        ("kernels=2,5;4,10", ("2,5", "4,10")),
        ("kernels=2,5;", ("2,5",)),
        ("rate=0.1,1e-3", ("0.1", "1e-3")),
        ("optimizer=sgd,adam", ("sgd", "adam")),
    ],
)
def test_a_flag_is_a_name_with_its_values(text, expected):
    assert comparing.sweep_flag(text) == (text.partition("=")[0], expected)


@pytest.mark.parametrize(
    "text",
    [
        "batch_size", "=5", "a b=5", "n=", "n=5..2", "n=0..8", "n=1..2..3", "n=1..9:0", "n=1..100000:1", "n=1,1",
        "n=a b", "n=$(x)", "n=1..1", "9n=1", "n=;", "n=1,,2",
    ],
)  # fmt: skip
def test_what_is_no_sweep_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        comparing.sweep_flag(text)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_doubling_goes_from_the_first_to_the_last(first, last):
    if first >= last:
        with pytest.raises(ValueError, match="doubles nothing"):
            comparing.sweep("n", f"{first}..{last}")
        return
    found = [int(value) for value in comparing.sweep("n", f"{first}..{last}")[1]]
    assert (found[0], found[-1]) == (first, last)
    assert all(two == 2 * one for one, two in itertools.pairwise(found[:-1]))
    assert found[-2] < last <= 2 * found[-2]


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 10**5))
def test_steps_go_from_the_first_to_the_last(first, span, step):
    if span // step >= comparing.MAX_VALUES:
        with pytest.raises(ValueError, match="no range"):
            comparing.sweep("n", f"{first}..{first + span}:{step}")
        return
    found = [int(value) for value in comparing.sweep("n", f"{first}..{first + span}:{step}")[1]]
    assert (found[0], found[-1]) == (first, first + span)
    assert all(two - one == step for one, two in itertools.pairwise(found[:-1]))


@given(st.text(max_size=30))
def test_any_text_is_values_or_a_told_mistake(text):
    try:
        _, found = comparing.sweep("n", text)
    except ValueError:
        return
    assert found
    assert len(set(found)) == len(found)


def test_two_sweeps_are_every_combination():
    assert comparing.points({"a": "1,2", "b": [3, 4]}) == (
        (("a", "1"), ("b", "3")),
        (("a", "1"), ("b", "4")),
        (("a", "2"), ("b", "3")),
        (("a", "2"), ("b", "4")),
    )
    with pytest.raises(ValueError, match="swept twice"):
        comparing.combined([("a", ("1",)), ("a", ("2",))])


def test_points_are_taken_as_they_stand():
    found = comparing.points([{"kernels": [2, 5], "epochs": 10}, {"kernels": "4,10", "epochs": 30}])
    assert found == ((("kernels", "2,5"), ("epochs", "10")), (("kernels", "4,10"), ("epochs", "30")))


def test_a_value_alone_is_written_as_one_of_several():
    found = comparing.points({"batch_norm": True, "rate": 0.1, "kernels": [[2, 5], [4, 10]]})
    assert dict(found[0]) == {"batch_norm": "true", "rate": "0.1", "kernels": "2,5"}


@pytest.mark.parametrize("value", ["x", [{}], [5], [{"a": 1}, {"a": "1"}], 5, {"a": None}, [{"a": None}], {"a": []}])
def test_what_is_no_point_is_refused(value):
    with pytest.raises(ValueError, match="expected"):
        comparing.points(value)


@pytest.mark.parametrize("text", ["same", "best", "local", "aws", "ssh://me@box:2222", "local+aws", "aws+ssh://box"])
def test_places(text):
    assert comparing.places(text) == text


@pytest.mark.parametrize("text", ["", "here", "local+", "local+local", "same+aws", "local+aws+local", "ssh://"])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ValueError, match="local\\+aws"):
        comparing.places(text)
