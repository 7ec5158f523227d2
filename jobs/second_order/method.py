"""What a full-batch method is, and what it works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
ValueAndGradient = Callable[[Vector], tuple[float, Vector]]
"""Cost and gradient of all training rows at the weights, (n,) -> (), (n,)."""

State = Mapping[str, Any]
"""All that a method knows between two steps: arrays of NumPy's, whose shapes stay as they are.

At least `value` (), `gradient` (n,), `done` (), `iterations` (), and `evaluations` () of cost and gradient.
"""


def first_state(theta: Vector, value_and_gradient: ValueAndGradient, tolerance: float) -> State:
    """What every method knows at the first weights, (n,); it is done where no part of the gradient is larger."""
    value, gradient = value_and_gradient(theta)
    return {
        "value": np.float64(value),
        "gradient": gradient,
        "done": np.bool_(np.abs(gradient).max() <= tolerance),
        "iterations": np.int64(0),
        "evaluations": np.int64(1),
    }


class Method(Protocol):
    """A rule without memory; neither state nor weights are changed in place."""

    def start(self, theta: Vector, value_and_gradient: ValueAndGradient) -> State:
        """The state at the first weights, (n,)."""

    def step(self, state: State, theta: Vector, value_and_gradient: ValueAndGradient) -> tuple[State, Vector]:
        """The state and the weights one iteration on; the same where it is done."""
