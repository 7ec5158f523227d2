"""Gradient descent: one rate for all weights, no memory.

    weight = weight - learning_rate * gradient

Source: every deck. Keras's SGD computes the same; on TensorFlow this does it in one operation, which reads each array
once.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from jobs.optimizers import fused


class GradientDescent(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras has no types
    """Gradient descent; no state but the rate."""

    def __init__(self, learning_rate: float, name: str = "sgd") -> None:
        super().__init__(learning_rate=learning_rate, name=name)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one weight."""
        rate, gradient = (ops.cast(each, variable.dtype) for each in (learning_rate, gradient))
        if fused.available():
            fused.descent_step(variable, gradient, rate)
        else:
            self.assign_sub(variable, rate * gradient)
