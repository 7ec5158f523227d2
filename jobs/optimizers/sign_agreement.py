"""A rate for each weight, which grows while its gradient keeps its sign.

    weight = weight - learning_rate * rate * gradient
    where gradient and the gradient before it have the same sign:  rate = rate + increase
    where they have opposite signs:                                rate = rate * decrease

Source: deck 4, "adaptive learning rates" (+0.05, x0.95, from 1; Jacobs 1988). As there, a rate that changes counts
from the next step on. The deck names limits for the rates and has none; `smallest` and `largest` are those. Keras has
no such optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class SignAgreement(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras has no types
    """Per-weight rates; two arrays of state a weight, of its shape: the rates, at first 1, and the last gradient."""

    def __init__(
        self,
        learning_rate: float,
        *,
        increase: float,
        decrease: float,
        smallest: float,
        largest: float,
        name: str = "sign_agreement",
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        self.increase, self.decrease = increase, decrease
        self.smallest, self.largest = smallest, largest

    def build(self, variables: Sequence[Any]) -> None:
        """Make the state."""
        if self.built:
            return
        super().build(variables)
        self.rates = self.add_optimizer_variables(variables, "rate", initializer="ones")
        self.last_gradients = self.add_optimizer_variables(variables, "last_gradient")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one weight."""
        learning_rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        rate, last_gradient = ops.convert_to_tensor(self.rates[index]), self.last_gradients[index]
        self.assign_sub(variable, learning_rate * rate * gradient)
        agreement = ops.sign(last_gradient) * ops.sign(gradient)  # the product itself may underflow to 0
        grown = ops.where(agreement > 0, rate + self.increase, rate)
        changed = ops.where(agreement < 0, rate * self.decrease, grown)
        self.assign(self.rates[index], ops.clip(changed, self.smallest, self.largest))
        self.assign(last_gradient, gradient)
