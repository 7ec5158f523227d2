"""Every schedule against the decks' formulas, written as their loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import schedules
from jobs.errors import JobError

STEPS, PER_EPOCH = 50, 7


def rates(name: str, options: dict, first: int = 0, last: int = STEPS, initial: float = 0.03) -> np.ndarray:
    return schedules.rates(name, options, initial, first, last, PER_EPOCH, STEPS)


def by_epoch(values) -> np.ndarray:
    """One value an epoch, as the steps have it."""
    return np.repeat(list(values), PER_EPOCH)[:STEPS]


def test_constant_is_what_was_told():
    assert (rates("constant", {}) == 0.03).all()


def test_step_halves_every_so_often():
    rate, expected = 0.03, []
    for iteration in range(8):
        if iteration % 3 == 0 and iteration > 0:
            rate /= 2
        expected.append(rate)
    np.testing.assert_allclose(rates("step", {"every": 3}), by_epoch(expected), rtol=1e-12)
    by_step = rates("step", {"every": 10, "factor": 0.1, "per": "step"})
    np.testing.assert_allclose(by_step, np.repeat([3e-2, 3e-3, 3e-4, 3e-5, 3e-6], 10), rtol=1e-12)


def test_exponential_and_inverse_decay_by_epoch_or_by_step():
    t = np.arange(STEPS)
    np.testing.assert_allclose(rates("exponential", {"decay": 0.2}), by_epoch(0.03 * np.exp(-0.2 * t[:8])), rtol=1e-12)
    np.testing.assert_allclose(rates("exponential", {"decay": 0.2, "per": "step"}), 0.03 * np.exp(-0.2 * t))
    np.testing.assert_allclose(rates("inverse", {"decay": 0.5}), by_epoch(0.03 / (1 + 0.5 * t[:8])), rtol=1e-12)
    np.testing.assert_allclose(rates("inverse", {"decay": 0.5, "per": "step"}), 0.03 / (1 + 0.5 * t))


def test_linear_goes_in_even_steps_from_epoch_to_epoch_down_or_up():
    np.testing.assert_allclose(rates("linear", {"stop": 0.0001}), by_epoch(np.linspace(0.03, 0.0001, 8)), rtol=1e-12)
    momentum = rates("linear", {"stop": 0.999}, initial=0.9)
    np.testing.assert_allclose(momentum, by_epoch(np.linspace(0.9, 0.999, 8)), rtol=1e-12)
    np.testing.assert_allclose(rates("linear", {"stop": 0, "per": "step"}), np.linspace(0.03, 0, STEPS), atol=1e-15)
    assert schedules.rates("linear", {}, 0.03, 0, 4, 4, 4).tolist() == [0.03] * 4  # one epoch: no way to go


def test_cosine_warms_up_and_comes_down():
    found = rates("cosine", {"warm_up": 0.2})
    expected = [
        0.03 * (0.1 + 0.9 * t / 10 if t < 10 else (1 + np.cos(np.pi * (t - 10) / 40)) / 2) for t in range(STEPS)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found.argmax() == 10
    assert rates("cosine", {"warm_up": 0.0})[0] == 0.03


@given(st.sampled_from(sorted(schedules.SCHEDULES)), st.integers(0, STEPS), st.integers(0, STEPS))
def test_any_part_is_that_part_of_the_whole_to_the_bit(name: str, first: int, last: int):
    part = rates(name, {}, first, last)
    assert part.dtype == np.float64
    assert part.tobytes() == rates(name, {})[first:last].tobytes()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("linaer", {}, "unknown schedule 'linaer'; did you mean 'linear'?"),
        ("step", {"evry": 3}, "schedule step has no option 'evry'; did you mean 'every'?"),
        ("step", {"every": 2.5}, "schedule step: every is 2.5: expected a whole number of at least 1"),
        ("constant", {"a": 1}, "schedule constant has no option 'a': it has none"),
        ("cosine", {"per": "batch"}, "schedule cosine: per is 'batch': expected epoch or step"),
    ],
)
def test_what_cannot_be_is_told(name: str, options: dict, message: str):
    with pytest.raises(JobError) as raised:
        schedules.check(name, options)
    assert str(raised.value) == message


def test_every_schedule_is_described_and_its_defaults_are_allowed():
    assert set(schedules.SCHEDULES) == set(schedules.OPTIONS)
    for name, options in schedules.OPTIONS.items():
        schedules.check(name, options)
        assert set(schedules.meanings(name)) == set(options)
