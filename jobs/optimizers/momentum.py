"""Momentum as velocity: a step keeps a share of the step before it.

    step = momentum * step - learning_rate * gradient
    weight = weight + step

Source: decks 0 and 3. Keras's SGD(momentum=..) computes the same, with a momentum that cannot be moved.
"""

from __future__ import annotations

from typing import Any

from jobs.optimizers import fused
from jobs.optimizers.with_momentum import WithMomentum


class Momentum(WithMomentum):
    """Momentum as velocity."""

    STATE = "step"

    def move(self, variable: Any, step: Any, gradient: Any, rate: Any, momentum: Any) -> None:
        """Step by what is left of the last step, less the gradient's."""
        if fused.available():
            fused.momentum_step(variable, step, gradient, rate, momentum, nesterov=False)
            return
        self.assign(step, momentum * step - rate * gradient)
        self.assign_add(variable, step)
