"""DropConnect as the last deck has it: weights are dropped, not units."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from jobs.layers.dropout import bernoulli, checked


@keras.saving.register_keras_serializable(package="jobs")
class DropConnect(keras.layers.Dense):  # type: ignore[misc]  # Keras has no types
    """A dense layer, each weight kept with probability `p_keep` in training; W * p_keep at prediction.

    One mask a step, for all rows of the batch, as in deck 4 (which calls p_keep its drop factor, 0.75, and the layer
    dropout); the paper draws one a row, and samples at prediction where the deck takes the mean weights.
    Biases are never dropped. Shapes: (.., inputs) to (.., units).
    Source: deck 4; Wan et al., Regularization of Neural Networks using DropConnect, ICML 2013.
    Raises `ValueError` unless 0 < p_keep <= 1.
    """

    def __init__(self, units: int, *, p_keep: float, seed: int, **options: Any) -> None:
        super().__init__(units, **options)
        self.p_keep, self.seed = checked(p_keep), seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, *, training: bool = False) -> Any:
        """`inputs` (.., inputs) through the weights that are left."""
        kernel = ops.convert_to_tensor(self.kernel)
        mask = bernoulli(kernel.shape, self.p_keep, kernel.dtype, self.seed_generator) if training else self.p_keep
        outputs = ops.matmul(inputs, kernel * mask)
        if self.bias is not None:
            outputs = outputs + self.bias
        return self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        """What `.keras` files keep."""
        return {**super().get_config(), "p_keep": self.p_keep, "seed": self.seed}
