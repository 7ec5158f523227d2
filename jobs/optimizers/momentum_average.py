"""Momentum as a moving average: the weight follows the gradients, smoothed by an exponentially decaying filter.

    weight  = weight - learning_rate * average        (the average of before this gradient)
    average = momentum * average + (1 - momentum) * gradient

Source: deck 4, whose two updates happen at once, so that a gradient moves the weight one step later and the first
step moves nothing. Keras has no such optimiser: its momentum is not scaled by 1 - momentum, and moves at once.
"""

from __future__ import annotations

from typing import Any

from jobs.optimizers.with_momentum import WithMomentum


class MomentumAverage(WithMomentum):
    """Momentum as a moving average."""

    STATE = "average"

    def move(self, variable: Any, average: Any, gradient: Any, rate: Any, momentum: Any) -> None:
        """Step by the average, and only then let it know this gradient."""
        self.assign_sub(variable, rate * average)
        self.assign(average, momentum * average + (1 - momentum) * gradient)
