"""RMSprop: AdaGrad whose memory fades.

    cache  = decay * cache + (1 - decay) * gradient²
    weight = weight - learning_rate * gradient / (sqrt(cache) + epsilon)

Source: deck 0, with deck 4's decay (Tieleman and Hinton 2012). Keras's RMSprop has epsilon under the root
(`rmsprop-keras`); deck 4 divides by the mean of before this gradient (`rmsprop-delayed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class RMSprop(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras has no types
    """RMSprop; one array of state a weight, of the weight's shape, at first 0."""

    def __init__(self, learning_rate: float, decay: float, epsilon: float, name: str = "rmsprop") -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        self.decay, self.epsilon = decay, epsilon

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
        self.assign(cache, self.decay * cache + (1 - self.decay) * ops.square(gradient))
        self.assign_sub(variable, rate * gradient / (ops.sqrt(cache) + self.epsilon))
