"""AdaGrad: a weight's rate falls with all the gradients that it has had.

    cache  = cache + gradient²
    weight = weight - learning_rate * gradient / (sqrt(cache) + epsilon)

Source: deck 0 (Duchi, Hazan and Singer 2011). Keras's Adagrad starts the cache at 0.1 and has epsilon under the
root; here the cache starts at 0, so the first step of every weight is as long as the learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class AdaGrad(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras has no types
    """AdaGrad; one array of state a weight, of the weight's shape, at first 0."""

    def __init__(self, learning_rate: float, epsilon: float, name: str = "adagrad") -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        self.epsilon = epsilon

    def build(self, variables: Sequence[Any]) -> None:
        """Make the state."""
        if self.built:
            return
        super().build(variables)
        self.caches = self.add_optimizer_variables(variables, "cache")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one weight."""
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        cache = self.caches[self._get_variable_index(variable)]
        self.assign_add(cache, ops.square(gradient))
        self.assign_sub(variable, rate * gradient / (ops.sqrt(cache) + self.epsilon))
