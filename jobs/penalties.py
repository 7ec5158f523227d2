"""L1 and L2 as the decks add them to the cost: summed, or as the mean of each tensor.

This module imports Keras: only after `runtime.start`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import keras
from keras import ops

Reduction = Literal["sum", "mean"]
REDUCTIONS: tuple[Reduction, ...] = ("sum", "mean")


def l1(tensors: Iterable[Any], reduction: Reduction = "sum") -> Any:
    """The absolute values of all `tensors`, as a scalar; 0.0 for none of them.

    `sum` (decks 1 and 3; Keras's L1): of every weight. `mean` (deck 4, and deck 0's advice): each tensor's own mean,
    then added, so that a large layer weighs no more than a small one. Tensors of any shapes, whole numbers none.
    """
    return _total((ops.abs(tensor) for tensor in tensors), reduction)


def l2(tensors: Iterable[Any], reduction: Reduction = "sum") -> Any:
    """The squares of all `tensors`, likewise: no square root, and no half as in TensorFlow's `l2_loss` (deck 3)."""
    if reduction == "sum" and keras.backend.backend() == "tensorflow":
        return _halves(tensors)
    return _total((ops.square(tensor) for tensor in tensors), reduction)


def _halves(tensors: Iterable[Any]) -> Any:
    """The same sum by TensorFlow's `l2_loss`, half a sum of squares: its gradient is the tensor itself, not a pass."""
    import tensorflow as tf  # noqa: PLC0415  # where it is what Keras runs on

    return sum((2 * tf.nn.l2_loss(ops.convert_to_tensor(tensor)) for tensor in tensors), start=0.0)


def penalised(variables: Iterable[Any], *, biases: bool) -> list[Any]:
    """Those Keras variables that a penalty is for: every kernel (deck 1), and biases too (decks 0 and 4) if so asked.

    By their names: `kernel`, `recurrent_kernel` and the like; `bias`, `visible_bias` and the like. Batch norm's gamma
    and beta never are.
    """
    kinds = {"kernel", "bias"} if biases else {"kernel"}
    return [variable for variable in variables if variable.name.rpartition("_")[2] in kinds]


def _total(tensors: Iterable[Any], reduction: Reduction) -> Any:
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}: expected {' or '.join(REDUCTIONS)}")
    reduce = ops.sum if reduction == "sum" else ops.mean
    return sum((reduce(tensor) for tensor in tensors), start=0.0)
