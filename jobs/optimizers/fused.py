"""TensorFlow's own operations for whole steps: each array is read once, in a third of the time of several operations.

For use where TensorFlow is what Keras runs on; they change the variables in place, also within a compiled loop.
"""

from __future__ import annotations

from typing import Any

import keras


def available() -> bool:
    """Whether Keras runs on TensorFlow."""
    return bool(keras.backend.backend() == "tensorflow")


def handle(variable: Any) -> Any:
    """Where TensorFlow keeps it; Keras hands out its own variables as well as TensorFlow's."""
    held = variable.value if isinstance(variable, keras.Variable) else variable
    return held.handle


def descent_step(variable: Any, gradient: Any, rate: Any) -> None:
    """weight -= rate * gradient."""
    import tensorflow as tf  # noqa: PLC0415  # where it is what Keras runs on

    tf.raw_ops.ResourceApplyGradientDescent(var=handle(variable), alpha=rate, delta=gradient)


def momentum_step(variable: Any, step: Any, gradient: Any, rate: Any, momentum: Any, *, nesterov: bool) -> None:
    """step = momentum * step - rate * gradient; weight += step, or for Nesterov momentum * step - rate * gradient."""
    import tensorflow as tf  # noqa: PLC0415  # where it is what Keras runs on

    tf.raw_ops.ResourceApplyKerasMomentum(
        var=handle(variable),
        accum=handle(step),
        lr=rate,
        grad=gradient,
        momentum=momentum,
        use_nesterov=nesterov,
    )
