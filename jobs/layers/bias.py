"""A bias and an activation that stand alone, for where something comes between a linear layer and them."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="jobs")
class Bias(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """`activation(inputs + bias)`, one bias for each of the last axis's numbers, zero at first.

    After the pooling of a convolution it is a quarter of the work that it is before, and the same result: the largest
    of some numbers stays the largest when a bias is added, or when it goes through a function that rises.
    Shapes: any, kept as it is. Source: deck 1's convolutional layer.
    """

    def __init__(self, activation: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.activation = keras.activations.get(activation)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the bias, (channels,)."""
        self.bias = self.add_weight(shape=input_shape[-1:], initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """`inputs` (.., channels), shifted and bent."""
        return self.activation(inputs + self.bias)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The same."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What `.keras` files keep."""
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}
