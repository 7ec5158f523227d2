"""Yes or no for each row: cross-entropy of the logistic function, in nats."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

ERROR = "error"


def costs(model: keras.Model, x: Any, y: Any, *, training: bool) -> Any:
    """Cross-entropy of one logit (rows, 1) and classes 0 or 1 (rows,)."""
    return _cross_entropy(model(x, training=training)[:, 0], y)


def judge(model: keras.Model, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """The cross-entropies, whether the logit's sign says the other class, and ones."""
    logits = model(x, training=False)[:, 0]
    wrong = ops.cast(ops.not_equal(logits > 0, ops.cast(y, "bool")), "float32")
    return _cross_entropy(logits, y), wrong, ops.ones_like(wrong)


def error_of(mean_miss: float) -> float:
    """The share of the rows that it gets wrong."""
    return mean_miss


def decide(outputs: NDArray[Any]) -> NDArray[Any]:
    """0 or 1 for each row."""
    return (outputs[:, 0] > 0).astype(np.int64)


def _cross_entropy(logits: Any, y: Any) -> Any:
    """softplus(z) - y z: -log of the probability of the row's class, without overflow."""
    return ops.softplus(logits) - ops.cast(y, logits.dtype) * logits
