"""What makes one network of several: what each of them sees, and how they answer together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="jobs")
class Columns(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Some of a row's inputs, drawn without replacement: (batch, inputs) to (batch, count).

    Which they are is a variable, `columns` (count,) int32, so that they go where the weights go. Source: deck 0.
    """

    def __init__(self, count: int, *, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.count, self.seed = count, seed

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Draw them."""
        chosen = np.sort(np.random.default_rng(self.seed).permutation(int(input_shape[-1] or 0))[: self.count])

        def drawn(_shape: Any, dtype: Any = None) -> Any:
            return ops.convert_to_tensor(chosen, dtype)

        self.columns = self.add_weight(
            shape=(self.count,), dtype="int32", initializer=drawn, trainable=False, name="columns"
        )

    def call(self, inputs: Any) -> Any:
        """`inputs` (batch, inputs), but for those that were not drawn."""
        return ops.take(inputs, ops.convert_to_tensor(self.columns), axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, count)."""
        return (*input_shape[:-1], self.count)

    def get_config(self) -> dict[str, Any]:
        """What `.keras` files keep."""
        return {**super().get_config(), "count": self.count, "seed": self.seed}


@keras.saving.register_keras_serializable(package="jobs")
class Average(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The members' probabilities, averaged: their logits, each (batch, classes), to its logarithm, (batch, classes).

    Source: deck 0.
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        """log of the mean of the softmaxes, without leaving the logarithms: no probability is too small for it."""
        logs = ops.stack([ops.log_softmax(logits, axis=-1) for logits in inputs])  # (members, batch, classes)
        return ops.logsumexp(logs, axis=0) - float(np.log(len(inputs)))

    def compute_output_shape(self, input_shape: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """(batch, classes)."""
        return input_shape[0]


@keras.saving.register_keras_serializable(package="jobs")
class Vote(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The share of the members that say each class: their logits, each (batch, classes), to its logarithm.

    A class that nobody says has the share `LEAST` instead of 0, whose logarithm is no number. Where as many say one
    class as another, the lower one wins. Source: deck 0.
    """

    LEAST = 1e-7

    def call(self, inputs: Sequence[Any]) -> Any:
        """log of the shares."""
        classes = inputs[0].shape[-1]
        said = [ops.one_hot(ops.argmax(logits, axis=-1), classes, dtype=self.compute_dtype) for logits in inputs]
        return ops.log(ops.maximum(sum(said) / len(inputs), self.LEAST))

    def compute_output_shape(self, input_shape: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """(batch, classes)."""
        return input_shape[0]
