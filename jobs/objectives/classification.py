"""One class of several for each row: cross-entropy of the softmax, in nats."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

ERROR = "error"


def costs(model: keras.Model, x: Any, y: Any, *, training: bool) -> Any:
    """Cross-entropy of logits (rows, classes) and classes (rows,): the softmax is in it, and cannot overflow."""
    return ops.sparse_categorical_crossentropy(y, model(x, training=training), from_logits=True)


def judge(model: keras.Model, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """The cross-entropies, whether the likeliest class is another than the row's, and ones."""
    logits = model(x, training=False)
    cross_entropy = ops.sparse_categorical_crossentropy(y, logits, from_logits=True)
    likeliest = ops.argmax(logits, axis=-1)
    wrong = ops.cast(ops.not_equal(likeliest, ops.cast(y, likeliest.dtype)), "float32")
    return cross_entropy, wrong, ops.ones_like(wrong)


def error_of(mean_miss: float) -> float:
    """The share of the rows that it gets wrong."""
    return mean_miss


def decide(outputs: NDArray[Any]) -> NDArray[Any]:
    """The likeliest class of each row."""
    return np.asarray(outputs.argmax(axis=-1))
