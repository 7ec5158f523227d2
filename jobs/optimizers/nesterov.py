"""Nesterov momentum in the form that needs the gradient only where the weights are.

    velocity_before = velocity
    velocity = momentum * velocity - learning_rate * gradient
    weight   = weight - momentum * velocity_before + (1 + momentum) * velocity

The weights that it keeps are those of the look-ahead: of the plain form, weight + momentum * velocity.
Source: deck 0 (Nesterov 1983; Bengio, Boulanger-Lewandowski and Pascanu 2013). Keras's SGD(nesterov=True) computes
the same; ours holds the momentum in a variable, so that a schedule can move it within a compiled loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from jobs.optimizers import fused


class Nesterov(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras has no types
    """Nesterov momentum; one array of state a weight, of the weight's shape, at first 0."""

    def __init__(self, learning_rate: float, momentum: float, name: str = "nesterov") -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        self.momentum = momentum

    def build(self, variables: Sequence[Any]) -> None:
        """Make the state."""
        if self.built:
            return
        super().build(variables)
        start = keras.initializers.Constant(self.momentum)
        self.momentum_variable = self.add_variable(shape=(), initializer=start, name="momentum")
        self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one weight."""
        rate, gradient, momentum = (
            ops.cast(each, variable.dtype) for each in (learning_rate, gradient, self.momentum_variable)
        )
        velocity = self.velocities[self._get_variable_index(variable)]
        if fused.available():
            fused.momentum_step(variable, velocity, gradient, rate, momentum, nesterov=True)
            return
        new_velocity = momentum * velocity - rate * gradient
        self.assign_add(variable, (1 + momentum) * new_velocity - momentum * velocity)
        self.assign(velocity, new_velocity)
