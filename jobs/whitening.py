"""PCA whitening (deck 4): inputs without correlations, each of variance one.

An error surface over correlated inputs of different scales is a long narrow bowl; over these it is round, and
gradient descent goes straight down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import JobError

EPSILON = 1e-5
CHUNK_ROWS = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitening:
    """What was learnt from the training rows, for those and every other row."""

    mean: NDArray[np.float64]  # (inputs,)
    directions: NDArray[np.float64]  # (inputs, components), orthonormal columns, largest variance first
    variances: NDArray[np.float64]  # (components,) of the training rows, along each direction
    epsilon: float

    def apply(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """`x` (rows, inputs) rotated and rescaled: (rows, components). Raises `JobError` for another width."""
        if x.ndim != 2 or x.shape[1] != len(self.mean):
            raise JobError(f"rows of shape {x.shape[1:]} cannot be whitened: expected ({len(self.mean)},)")
        scaled = self.directions / np.sqrt(self.variances + self.epsilon)
        white = np.empty((len(x), scaled.shape[1]), np.float32)
        for rows in _chunks(len(x)):
            white[rows] = (x[rows] - self.mean) @ scaled
        return white

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """All of it by name, as an npz holds it."""
        return {
            "mean": self.mean,
            "directions": self.directions,
            "variances": self.variances,
            "epsilon": np.array(self.epsilon),
        }


def fit(
    x: NDArray[Any], *, epsilon: float = EPSILON, components: int | None = None, variance_share: float | None = None
) -> Whitening:
    """Learn from the training rows `x` (rows, inputs), and from them alone; in float64.

    Directions of a variance up to 1e-5 are dropped, as in the deck: they are noise, or nothing. `components` keeps
    that many of the rest, `variance_share` as few as hold that share of the variance. `epsilon` is added to each
    variance before its root. Raises `JobError` for rows or numbers that cannot be.
    """
    _check(x, epsilon, components, variance_share)
    mean = x.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((x.shape[1], x.shape[1]))
    for rows in _chunks(len(x)):  # all rows in float64 at once would be eight times what MNIST's bytes take
        centred = x[rows] - mean
        covariance += centred.T @ centred
    variances, directions = np.linalg.eigh(covariance / len(x))
    variances, directions = variances[::-1], directions[:, ::-1]
    kept = _kept(variances, components, variance_share)
    return Whitening(
        mean=mean, directions=_signed(directions[:, :kept]), variances=variances[:kept].copy(), epsilon=epsilon
    )


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Whitening:
    """What `Whitening.arrays` gave; raises `JobError` where a part is missing."""
    try:
        return Whitening(
            mean=arrays["mean"],
            directions=arrays["directions"],
            variances=arrays["variances"],
            epsilon=float(arrays["epsilon"]),
        )
    except KeyError as error:
        raise JobError(f"these arrays are no whitening: there is no {error}") from error


def _kept(variances: NDArray[np.float64], components: int | None, variance_share: float | None) -> int:
    """How many of the descending `variances` to keep."""
    kept = int(np.count_nonzero(variances > EPSILON))
    if not kept:
        raise JobError("the training rows are all the same: there is nothing to whiten")
    if components is not None:
        return min(components, kept)
    if variance_share is not None:
        shares = np.cumsum(variances[:kept]) / variances[:kept].sum()
        return min(int(np.searchsorted(shares, variance_share)) + 1, kept)
    return kept


def _signed(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each column with its largest entry positive: the sign is free, and would hang on the linear algebra library."""
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])]
    return np.where(largest < 0, -directions, directions)


def _chunks(rows: int) -> list[slice]:
    return [slice(first, first + CHUNK_ROWS) for first in range(0, rows, CHUNK_ROWS)]


def _check(x: NDArray[Any], epsilon: float, components: int | None, variance_share: float | None) -> None:
    if x.ndim != 2 or len(x) < 2:
        raise JobError(f"training rows of shape {x.shape} cannot be whitened: expected at least two rows of numbers")
    if not np.isfinite(x).all():
        raise JobError("the training rows hold NaN or infinite numbers: whitening needs every one")
    if not epsilon >= 0:
        raise JobError(f"epsilon is {epsilon}: expected a number of at least 0")
    if components is not None and variance_share is not None:
        raise JobError("components and variance_share were both given: expected one of them")
    if components is not None and components < 1:
        raise JobError(f"components is {components}: expected a whole number of at least 1")
    if variance_share is not None and not 0 < variance_share <= 1:
        raise JobError(f"variance_share is {variance_share}: expected more than 0 and at most 1")
