"""Adam: moving averages of the gradient and of its square, both freed of the bias of their start at 0.

    mean   = beta_1 * mean   + (1 - beta_1) * gradient
    square = beta_2 * square + (1 - beta_2) * gradient²
    weight = weight - learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * mean / (sqrt(square) + epsilon)

Source: deck 3, which calls TensorFlow's and Keras's, and this is their form (Kingma and Ba 2015, the line before
section 2.1). Keras computes 1 - beta_2^t from a rounded 0.999, which in float32 makes the first steps wrong by
7 millionths; here it is expm1(t * log(beta_2)), right to the last digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from jobs.optimizers import fused


class Adam(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras has no types
    """Adam; two arrays of state a weight, of the weight's shape, at first 0."""

    def __init__(self, learning_rate: float, beta_1: float, beta_2: float, epsilon: float, name: str = "adam") -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: Sequence[Any]) -> None:
        """Make the state."""
        if self.built:
            return
        super().build(variables)
        self.means, self.squares = self.add_optimizer_variables(variables, ["mean", "square"])

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one weight."""
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        mean, square = self.means[index], self.squares[index]
        t = ops.cast(self.iterations + 1, variable.dtype)
        if fused.available():
            self._step_in_one(variable, mean, square, gradient, rate, t)
            return
        self.assign_add(mean, (1 - self.beta_1) * (gradient - mean))
        self.assign_add(square, (1 - self.beta_2) * (ops.square(gradient) - square))
        unbiased = ops.sqrt(_filled(self.beta_2, t)) / _filled(self.beta_1, t)
        self.assign_sub(variable, rate * unbiased * mean / (ops.sqrt(square) + self.epsilon))

    def _step_in_one(self, variable: Any, mean: Any, square: Any, gradient: Any, rate: Any, t: Any) -> None:
        """The same by TensorFlow's one operation for it: each array is read once, in a third of the time.

        It rounds the betas before it takes them from 1, so that the averages are those of the rounded ones: they are
        what is unbiased here. That is in `rate`; the powers that it would unbias with itself are 0.
        """
        import tensorflow as tf  # noqa: PLC0415  # where it is what Keras runs on

        rounded = tf.as_dtype(rate.dtype).as_numpy_dtype
        unbiased = tf.sqrt(_filled(float(rounded(self.beta_2)), t)) / _filled(float(rounded(self.beta_1)), t)
        tf.raw_ops.ResourceApplyAdam(
            var=fused.handle(variable),
            m=fused.handle(mean),
            v=fused.handle(square),
            beta1_power=tf.zeros_like(rate),
            beta2_power=tf.zeros_like(rate),
            lr=rate * unbiased,
            beta1=tf.constant(self.beta_1, rate.dtype),
            beta2=tf.constant(self.beta_2, rate.dtype),
            epsilon=tf.constant(self.epsilon, rate.dtype),
            grad=gradient,
        )


def _filled(beta: float, t: Any) -> Any:
    """1 - beta^t: how much of a moving average from 0 is there after t steps."""
    return -ops.expm1(t * math.log(beta)) if beta else ops.ones_like(t)
