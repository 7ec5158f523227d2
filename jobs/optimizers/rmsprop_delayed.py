"""RMSprop by the mean of before this gradient.

    weight      = weight - learning_rate * gradient / (sqrt(mean_square) + epsilon)
    mean_square = decay * mean_square + (1 - decay) * gradient²

Source: deck 4, whose two updates happen at once: the step divides by the mean square that the gradients before this
one left, at first 1. The deck has no epsilon, and a weight whose gradient stays 0 (a border pixel of MNIST's) then
comes to 0 / 0 after some 830 steps, where the smallest numbers are taken for 0; `epsilon=0` gives the deck's formula
to the letter. Even with an epsilon a first large gradient after many small ones makes a very long step: `rmsprop`
does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class RMSpropDelayed(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras has no types
    """RMSprop with a delay; one array of state a weight, of the weight's shape, at first 1."""

    def __init__(self, learning_rate: float, decay: float, epsilon: float, name: str = "rmsprop_delayed") -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        self.decay, self.epsilon = decay, epsilon

    def build(self, variables: Sequence[Any]) -> None:
        """Make the state."""
        if self.built:
            return
        super().build(variables)
        self.mean_squares = self.add_optimizer_variables(variables, "mean_square", initializer="ones")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one weight."""
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        mean_square = self.mean_squares[self._get_variable_index(variable)]
        self.assign_sub(variable, rate * gradient / (ops.sqrt(mean_square) + self.epsilon))
        self.assign(mean_square, self.decay * mean_square + (1 - self.decay) * ops.square(gradient))
