"""TensorFlow: one compiled function trains as many batches as it is asked to, on rows that stay on the device.

Python is asked once for every stretch of batches, not once a step: where steps are small, that is most of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from jobs.network import Parts, Rows


@dataclass(frozen=True, slots=True)
class Functions:
    """See `jobs.network.Functions`."""

    train: Any
    sums: Any
    outputs: Any
    slopes: Any
    rate: Any

    def put(self, array: NDArray[Any]) -> Any:
        """On the device that the operations run on; whole numbers of 32 bits would stay off a GPU."""
        return tf.identity(array.astype(np.int64) if array.dtype == np.int32 else array)

    def advance(self, rows: Rows, order: Any, first: int, last: int, rates: Any, momenta: Any) -> None:
        """Train on these batches."""
        self.train(rows, order, tf.constant(first), tf.constant(last), rates, momenta)

    def judge(self, x: Any, y: Any) -> NDArray[Any]:
        """The sums over these rows."""
        return np.asarray(self.sums(x, y))

    def answer(self, x: Any) -> NDArray[Any]:
        """The outputs for these rows."""
        return np.asarray(tf.cast(self.outputs(x), tf.float32))

    def gradients(self, rows: Rows) -> Sequence[NDArray[Any]]:
        """Of the cost of these rows."""
        return self.cost_and_gradients(rows)[1]

    def cost_and_gradients(self, rows: Rows) -> tuple[float, Sequence[NDArray[Any]]]:
        """What they cost, and the same."""
        cost, slopes = self.slopes(rows)
        return float(cost), [np.asarray(slope) for slope in slopes]

    def wait(self) -> None:
        """Functions return when they are done, on a CPU; on a GPU a number that is read comes after all before it."""
        float(self.rate)


def compiled(parts: Parts) -> Functions:
    """The functions for these parts."""
    variables, size = parts.model.trainable_variables, parts.batch_size

    def slopes(rows: Rows) -> Any:
        with tf.GradientTape() as tape:
            cost = parts.cost(rows)
        return cost, tape.gradient(cost, variables)

    def step(batch: Any, rows: Rows, order: Any, rates: Any, momenta: Any) -> None:
        chosen = order[batch * size : (batch + 1) * size]
        taken = Rows(
            *(tf.ensure_shape(tf.gather(part, chosen), (size, *part.shape[1:])) for part in rows if part is not None)
        )
        parts.optimizer.learning_rate.assign(rates[batch])
        if parts.momentum is not None:
            parts.momentum.assign(momenta[batch])
        parts.optimizer.apply(slopes(taken)[1], variables)

    def train(rows: Rows, order: Any, first: Any, last: Any, rates: Any, momenta: Any) -> None:
        def body(batch: Any) -> tuple[Any]:
            step(batch, rows, order, rates, momenta)
            return (batch + 1,)

        tf.while_loop(lambda batch: batch < last, body, (first,), parallel_iterations=1)

    if not parts.compiled:
        return Functions(train, parts.judge, parts.answer, slopes, parts.optimizer.learning_rate)
    plain = {"autograph": False}
    loose = {**plain, "reduce_retracing": True}  # a last chunk of rows that is smaller gets a function for any size
    return Functions(
        tf.function(train, **plain),
        tf.function(parts.judge, **loose),
        tf.function(parts.answer, **loose),
        tf.function(slopes, **loose),
        parts.optimizer.learning_rate,
    )
