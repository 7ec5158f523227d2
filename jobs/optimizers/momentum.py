"""Momentum as velocity: a step keeps a share of the step before it.

    step = momentum * step - learning_rate * gradient
    weight = weight + step

Source: decks 0 and 3. Keras's SGD(momentum=..) computes the same; ours holds the momentum in a variable, so that a
schedule can move it from step to step within a compiled loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from jobs.optimizers import fused


class Momentum(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras has no types
    """Momentum as velocity; one array of state a weight, of the weight's shape, at first 0."""

    def __init__(self, learning_rate: float, momentum: float, name: str = "momentum") -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        self.momentum = momentum

    def build(self, variables: Sequence[Any]) -> None:
        """Make the state."""
        if self.built:
            return
        super().build(variables)
        start = keras.initializers.Constant(self.momentum)
        self.momentum_variable = self.add_variable(shape=(), initializer=start, name="momentum")
        self.steps = self.add_optimizer_variables(variables, "step")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one weight."""
        rate, gradient, momentum = (
            ops.cast(each, variable.dtype) for each in (learning_rate, gradient, self.momentum_variable)
        )
        step = self.steps[self._get_variable_index(variable)]
        if fused.available():
            fused.momentum_step(variable, step, gradient, rate, momentum, nesterov=False)
            return
        self.assign(step, momentum * step - rate * gradient)
        self.assign_add(variable, step)
