"""Columns of mean zero and variance one: the "input normalisation" of deck 3, and what deck 4 asks of features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """What was learnt from the training rows, for those and every other row."""

    mean: NDArray[np.float64]  # (inputs,)
    deviation: NDArray[np.float64]  # (inputs,); 1 where a column is constant

    def apply(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """`x` (rows, inputs), each column shifted and rescaled. Raises `JobError` for another width."""
        if x.shape[1:] != self.mean.shape:
            raise JobError(f"rows of shape {x.shape[1:]} cannot be standardised: expected {self.mean.shape}")
        return ((x - self.mean) / self.deviation).astype(np.float32)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """All of it by name, as an npz holds it."""
        return {"mean": self.mean, "deviation": self.deviation}


def fit(x: NDArray[Any]) -> Standard:
    """Learn from the training rows `x` (rows, inputs), and from them alone; in float64.

    The deviation divides by the number of rows. A constant column, such as the corner of every digit, is centred and
    not rescaled. Raises `JobError` for no rows, NaN or infinite numbers.
    """
    if x.ndim != 2 or not len(x):
        raise JobError(f"training rows of shape {x.shape} cannot be standardised: expected rows of numbers")
    if not np.isfinite(x).all():
        raise JobError("the training rows hold NaN or infinite numbers: standardising needs every one")
    constant = x.max(axis=0) == x.min(axis=0)  # the deviation of equal numbers may round to something above zero
    deviation = np.where(constant, 1.0, x.std(axis=0, dtype=np.float64))
    return Standard(mean=x.mean(axis=0, dtype=np.float64), deviation=deviation)


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Standard:
    """What `Standard.arrays` gave; raises `JobError` where a part is missing."""
    try:
        return Standard(mean=arrays["mean"], deviation=arrays["deviation"])
    except KeyError as error:
        raise JobError(f"these arrays are no standardisation: there is no {error}") from error
