"""Figures from elsewhere, as a spec names them."""

from __future__ import annotations

from contextlib import suppress

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.domain import CitedLeg, Device, FloatX
from launcher.spec import citing, json_schema


def wanted(value: object) -> None:
    """By the schema."""
    jsonschema.validate({"name": "x", "run": "true", "compare": {"cited": value}}, json_schema())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"one": "5 s", "two": 3}, (("one", "5 s"), ("two", "3"))),
        ([{"one": "5 s"}, {"two": 3}], (("one", "5 s"), ("two", "3"))),
        ([{"device": "cpu", "seconds": 3}], (CitedLeg(device=Device.CPU, train_s=3.0),)),
        (
            [{"device": "gpu", "floatx": "float64", "backend": "jax", "at": {"kernels": [2, 5], "epochs": 3},
              "seconds": 17.9, "elapsed_seconds": 25.6, "error": "5.8 %", "by": "K520", "source": "deck 0"},
             {"its price": "$0.65"}],
            (
                CitedLeg(device=Device.GPU, floatx=FloatX.FLOAT64, backend="jax",
                         settings=(("kernels", "2,5"), ("epochs", "3")),
                         train_s=17.9, elapsed_s=25.6, error=0.058, by="K520", source="deck 0"),
                ("its price", "$0.65"),
            ),
        ),
        ([{"device": "cpu", "error": 2.5}], (CitedLeg(device=Device.CPU, error=2.5),)),
        ([], ()),
    ],
)  # fmt: skip
def test_lines_and_figures_of_legs(value, expected):
    wanted(value)
    assert citing.cited(value) == expected


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("x", "not a list"), (3, "not a list"), ({}, "no figure"), ([3], "no figure"), ([{}], "no figure"),
        ([{"device": "tpu", "seconds": 3}], "tpu"), ([{"device": "cpu"}], "tells no figure"),
        ([{"device": "cpu", "seconds": 0}], "no duration"), ([{"device": "cpu", "seconds": "3 min"}], "no duration"),
        ([{"device": "cpu", "seconds": True}], "no duration"), ([{"device": "cpu", "error": "much"}], "no error"),
        ([{"device": "cpu", "error": -1}], "no error"), ([{"device": "cpu", "secnods": 3}], "did you mean 'seconds'"),
        ([{"device": "cpu", "seconds": 3, "hidden_units": 10}], "go under `at`"),
        ([{"device": "cpu", "seconds": 3, "at": 10}], "no mapping"), ([{"seconds": 3}], "lack its device"),
        ([{"a": "b"}] * 101, "more than 100"),
    ],
)  # fmt: skip
def test_what_is_none_is_told(value, told):
    with pytest.raises(ValueError, match=told):
        citing.cited(value)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda e: st.lists(e, max_size=3) | st.dictionaries(st.sampled_from(citing.LEG_KEYS) | st.text(), e, max_size=4)))  # fmt: skip  # noqa: E501
def test_any_value_is_figures_or_a_told_mistake(value):
    with suppress(ValueError):
        assert all(isinstance(each, (tuple, CitedLeg)) for each in citing.cited(value))


@given(st.integers(0, 999), st.integers(0, 99))
def test_percents_are_shares_as_they_are_written(whole, hundredths):
    text = f"{whole}.{hundredths:02d} %"
    (found,) = citing.cited([{"device": "cpu", "error": text}])
    assert isinstance(found, CitedLeg)
    assert found.error == float(f"{whole * 100 + hundredths}e-4")
