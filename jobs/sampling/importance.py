"""Importance weights for covariate shift: training rows count as much as they look like test rows.

Deck 3: where the inputs of training and test are distributed differently and the function is the same, weight the
data by importance, w(x) = p_test(x) / p_train(x). The labels of the test rows are not looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs import standardising
from jobs.errors import JobError

PENALTY = 1e-3
LARGEST = 20.0
MOST_COLUMNS = 2500
"""Newton's method solves for that many coefficients; 784 columns take some seconds, ten times as many an hour."""
NEWTON_STEPS = 25
TOLERANCE = 1e-8
SINGULAR = 1e-12
"""Added to the curvature: where every row is told apart for sure, there is none left along the intercept."""


def weights(
    train_x: NDArray[Any], test_x: NDArray[Any], *, penalty: float = PENALTY, largest: float = LARGEST
) -> NDArray[np.float64]:
    """One weight for each training row: (training rows,), of mean 1.

    A logistic regression learns to tell test rows from training rows; by Bayes' rule its odds, times training rows
    over test rows, are the ratio of the densities (Bickel et al., JMLR 10, 2009). It is exact where the logarithm of
    that ratio is linear in the inputs, as between two normal distributions of the same covariance; else the nearest
    of that kind. `penalty` times the squares of its coefficients, over standardised columns, keeps it from being
    sure where the two do not overlap; ratios above `largest` are clipped, since a few rows would be all that
    counts. Inputs: (rows, inputs) each. Raises `JobError` for rows or numbers that cannot be.
    """
    _check(train_x, test_x, penalty, largest)
    both = np.concatenate([train_x, test_x])
    x = _with_ones(standardising.fit(both).apply(both))
    is_test = np.arange(len(both)) >= len(train_x)
    log_odds = x @ _logistic_regression(x, is_test, penalty)
    log_ratio = log_odds[~is_test] + np.log(len(train_x) / len(test_x))
    ratio: NDArray[np.float64] = np.exp(np.minimum(log_ratio, np.log(largest)))
    return ratio / float(ratio.mean())


def effective_rows(weights: NDArray[np.float64]) -> float:
    """How many equally weighted rows would estimate as well: (sum w)^2 / sum w^2 (Kish, 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def _logistic_regression(x: NDArray[np.float64], is_test: NDArray[np.bool_], penalty: float) -> NDArray[np.float64]:
    """Coefficients (inputs + 1,) of the least mean cross-entropy plus penalty, by Newton's method; no draw."""
    ridge = np.full(x.shape[1], penalty)
    ridge[-1] = 0.0  # the intercept is the share of test rows, and must be free
    coefficients = np.zeros(x.shape[1])
    cost = _cost(x, is_test, ridge, coefficients)
    for _ in range(NEWTON_STEPS):
        p = _sigmoid(x @ coefficients)
        gradient = x.T @ (p - is_test) / len(x) + 2 * ridge * coefficients
        hessian = (x.T * (p * (1 - p))) @ x / len(x) + np.diag(2 * ridge + SINGULAR)
        step = np.linalg.solve(hessian, gradient)
        while (new_cost := _cost(x, is_test, ridge, coefficients - step)) > cost:
            step /= 2  # a whole step may overshoot where the rows are told apart easily
            if np.abs(step).max() < TOLERANCE:
                return coefficients
        coefficients, cost = coefficients - step, new_cost
        if np.abs(step).max() < TOLERANCE:
            break
    return coefficients


def _cost(
    x: NDArray[np.float64], is_test: NDArray[np.bool_], ridge: NDArray[np.float64], coefficients: NDArray[np.float64]
) -> float:
    log_odds = x @ coefficients
    return float(np.mean(np.logaddexp(0, log_odds) - is_test * log_odds) + ridge @ coefficients**2)


def _sigmoid(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-np.logaddexp(0, -log_odds))


def _with_ones(x: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.column_stack([x, np.ones(len(x))])


def _check(train_x: NDArray[Any], test_x: NDArray[Any], penalty: float, largest: float) -> None:
    shapes = f"training rows of shape {train_x.shape}, test rows of shape {test_x.shape}"
    if train_x.ndim != 2 or test_x.ndim != 2 or train_x.shape[1] != test_x.shape[1]:
        raise JobError(f"{shapes}: expected two tables with the same columns")
    if not len(train_x) or not len(test_x):
        raise JobError(f"{shapes}: expected rows in both")
    if train_x.shape[1] > MOST_COLUMNS:
        raise JobError(f"{shapes}: importance weights are for up to {MOST_COLUMNS:,} columns")
    if not penalty > 0:
        raise JobError(f"penalty is {penalty}: expected a number above 0")
    if not 1 <= largest < np.inf:
        raise JobError(f"the largest weight is {largest}: expected a number of at least 1")
