"""Nesterov momentum in the form that needs the gradient only where the weights are.

    velocity_before = velocity
    velocity = momentum * velocity - learning_rate * gradient
    weight   = weight - momentum * velocity_before + (1 + momentum) * velocity

The weights that it keeps are those of the look-ahead: of the plain form, weight + momentum * velocity.
Source: deck 0 (Nesterov 1983; Bengio, Boulanger-Lewandowski and Pascanu 2013). Keras's SGD(nesterov=True) computes
the same, with a momentum that cannot be moved.
"""

from __future__ import annotations

from typing import Any

from jobs.optimizers import fused
from jobs.optimizers.with_momentum import WithMomentum


class Nesterov(WithMomentum):
    """Nesterov momentum."""

    STATE = "velocity"

    def move(self, variable: Any, velocity: Any, gradient: Any, rate: Any, momentum: Any) -> None:
        """Step from one look-ahead to the next."""
        if fused.available():
            fused.momentum_step(variable, velocity, gradient, rate, momentum, nesterov=True)
            return
        new_velocity = momentum * velocity - rate * gradient
        self.assign_add(variable, (1 + momentum) * new_velocity - momentum * velocity)
        self.assign(velocity, new_velocity)
