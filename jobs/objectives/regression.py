"""Numbers for each row: the mean squared distance from the targets that are known; NaN is one that is not."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

ERROR = "rmse"


def costs(model: keras.Model, x: Any, y: Any, *, training: bool) -> Any:
    """The mean over each row's known targets of the squared distance; outputs and targets are (rows, targets)."""
    squares, known = _squares(model(x, training=training), y)
    return ops.sum(squares, axis=-1) / ops.maximum(ops.sum(known, axis=-1), 1)


def judge(model: keras.Model, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """The costs, each row's sum of squared distances, and how many targets it is of."""
    squares, known = _squares(model(x, training=False), y)
    total, count = ops.sum(squares, axis=-1), ops.sum(known, axis=-1)
    return total / ops.maximum(count, 1), total, count


def error_of(mean_miss: float) -> float:
    """The root mean square distance, in the targets' unit."""
    return math.sqrt(mean_miss)


def decide(outputs: NDArray[Any]) -> NDArray[Any]:
    """The numbers as they are."""
    return outputs


def _squares(outputs: Any, y: Any) -> tuple[Any, Any]:
    """Squared distances, 0 where the target is unknown, and a 1 for each that is known."""
    known = ops.logical_not(ops.isnan(y))
    distance = ops.where(known, outputs - ops.cast(ops.where(known, y, 0), outputs.dtype), 0)
    return ops.square(distance), ops.cast(known, distance.dtype)
