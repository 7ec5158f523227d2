"""Momentum as a moving average: the weight follows the gradients, smoothed by an exponentially decaying filter.

    weight  = weight - learning_rate * average        (the average of before this gradient)
    average = momentum * average + (1 - momentum) * gradient

Source: deck 4, whose two updates happen at once, so that a gradient moves the weight one step later and the first
step moves nothing. Keras has no such optimiser: its momentum is not scaled by 1 - momentum, and moves at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class MomentumAverage(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras has no types
    """Momentum as a moving average; one array of state a weight, of the weight's shape, at first 0."""

    def __init__(self, learning_rate: float, momentum: float, name: str = "momentum_average") -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        self.momentum = momentum

    def build(self, variables: Sequence[Any]) -> None:
        """Make the state."""
        if self.built:
            return
        super().build(variables)
        start = keras.initializers.Constant(self.momentum)
        self.momentum_variable = self.add_variable(shape=(), initializer=start, name="momentum")
        self.averages = self.add_optimizer_variables(variables, "average")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one weight."""
        rate, gradient, momentum = (
            ops.cast(each, variable.dtype) for each in (learning_rate, gradient, self.momentum_variable)
        )
        average = self.averages[self._get_variable_index(variable)]
        self.assign_sub(variable, rate * average)  # before the average knows this gradient
        self.assign(average, momentum * average + (1 - momentum) * gradient)
