"""Importance weights where the ratio of the densities is known."""

from __future__ import annotations

import re

import numpy as np
import pytest

from jobs.errors import JobError
from jobs.sampling import importance


def shifted(rows: int, by: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two normal distributions, in two columns; the second column has nothing to do with it, and is in other units."""
    random = np.random.default_rng(seed)
    units = np.array([1.0, 1000.0])
    train = random.normal(size=(rows, 2)) * units
    test = random.normal([by, 0.0], size=(rows // 2, 2)) * units
    return train, test


def test_weights_are_the_known_ratio_of_two_normal_distributions():
    train, test = shifted(40_000, by=0.8)
    known = np.exp(0.8 * train[:, 0] - 0.32)  # N(0.8, 1) over N(0, 1)
    weights = importance.weights(train, test, penalty=1e-6)
    usual = np.abs(train[:, 0]) < 2
    assert np.median(np.abs(weights[usual] / known[usual] - 1)) < 0.03
    assert np.abs(weights[usual] / known[usual] - 1).max() < 0.15
    assert weights.mean() == pytest.approx(1)


def test_weighted_training_rows_average_like_test_rows():
    train, test = shifted(40_000, by=0.8)
    y = (train[:, 0] > 1) * 1.0
    weights = importance.weights(train, test)
    assert abs(y.mean() - (test[:, 0] > 1).mean()) > 0.2
    assert (weights * y).mean() == pytest.approx((test[:, 0] > 1).mean(), abs=0.02)


def test_rows_that_are_not_shifted_all_count_the_same():
    train, test = shifted(20_000, by=0.0)
    weights = importance.weights(train, test)
    assert np.abs(weights - 1).max() < 0.1
    assert importance.effective_rows(weights) > 0.99 * len(train)


def test_no_row_counts_more_than_is_allowed_however_far_apart_they_are():
    train, test = shifted(2000, by=2.0)
    clipped, whole = importance.weights(train, test, largest=5.0), importance.weights(train, test, largest=1e9)
    most = clipped == clipped.max()
    assert 50 < most.sum() < 100  # exp(2 x - 2) > 5 for 3.6 % of them
    assert np.ptp(clipped[~most] / whole[~most]) < 1e-9  # the others are what they were, but for the mean
    assert whole[most].min() > whole[~most].max()


def test_the_coefficients_are_those_of_the_least_penalised_cost():
    train, test = shifted(300, by=1.0)
    both = np.concatenate([train, test])
    x = (both - both.mean(axis=0)) / both.std(axis=0)
    is_test = np.arange(len(both)) >= len(train)
    slope, intercept = np.zeros(2), 0.0
    for _ in range(20_000):  # plain gradient descent
        wrong = 1 / (1 + np.exp(-(x @ slope + intercept))) - is_test
        slope = slope - 0.5 * (x.T @ wrong / len(x) + 2 * 0.1 * slope)
        intercept = intercept - 0.5 * wrong.mean()
    ratio = np.exp(x[: len(train)] @ slope)
    expected = ratio / ratio.mean()
    assert np.abs(importance.weights(train, test, penalty=0.1) - expected).max() < 1e-5
    assert expected.max() > 1.5


def test_far_outliers_do_not_throw_newtons_method_off():
    random = np.random.default_rng(81)  # a seed at which whole steps run away
    train, test = random.standard_t(1.2, (20, 6)), random.standard_t(1.2, (9, 6)) + 3
    weights = importance.weights(train, test, penalty=1e-6)
    assert np.isfinite(weights).all()
    assert weights.mean() == pytest.approx(1)


def test_few_rows_count_where_the_two_hardly_overlap():
    train, test = shifted(2000, by=6.0)
    weights = importance.weights(train, test)
    assert np.isfinite(weights).all()
    assert (weights > 0).all()
    assert importance.effective_rows(weights) < len(train) / 2


def test_rows_told_apart_without_a_doubt_and_constant_columns_still_have_weights():
    train, test = np.zeros((50, 3)), np.zeros((20, 3))
    train[:, 0], test[:, 0] = np.linspace(0, 1, 50), np.linspace(9, 10, 20)
    assert np.isfinite(importance.weights(train, test)).all()
    assert np.array_equal(importance.weights(train, test), importance.weights(train, test))


@pytest.mark.parametrize(
    ("train", "test", "options", "expected"),
    [
        (np.zeros((3, 2)), np.zeros((3, 4)), {}, "expected two tables with the same columns"),
        (np.zeros((3, 2)), np.zeros((0, 2)), {}, "expected rows in both"),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"penalty": 0.0}, "penalty is 0.0"),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"largest": 0.5}, "largest weight is 0.5"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), {}, "NaN"),
    ],
)
def test_tables_that_cannot_be_are_refused(train, test, options: dict, expected: str):
    with pytest.raises(JobError, match=re.escape(expected)):
        importance.weights(train, test, **options)
