"""Newton, conjugate gradient and L-BFGS in the place of a backend's own steps: one step looks at every row.

They work on all weights as one vector of float64; the backend gives cost and gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import JobError
from jobs.second_order.method import Method, State, Vector

if TYPE_CHECKING:
    import keras

    from jobs.network import Functions, Rows


class _GivenUp(Exception):
    """A step takes thousands of gradients of Newton's method: it is not waited for."""


@dataclass(slots=True, kw_only=True)
class FullBatch:
    """A method, the model that it trains, and all that it knows between two steps."""

    method: Method
    model: keras.Model
    functions: Functions
    state: State = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether there is nothing left to gain."""
        return bool(self.state) and bool(self.state["done"])

    def advance(self, rows: Rows, steps: int, stop: Callable[[], bool]) -> int:
        """Take as many steps, or fewer once `stop` says so; returns how many, and leaves nothing of half a step.

        Raises `JobError` for a network that does not give the same cost twice.
        """
        theta, taken = self._weights(), 0

        def value_and_gradient(at: Vector) -> tuple[float, Vector]:
            if stop():
                raise _GivenUp
            self._set(at)
            cost, slopes = self.functions.cost_and_gradients(rows)
            return cost, np.concatenate([slope.astype(np.float64).ravel() for slope in slopes])

        try:
            if not self.state:
                self._check_repeatable(rows)
                self.state = self.method.start(theta, value_and_gradient)
            for taken in range(1, steps + 1):  # noqa: B007  # how far it came
                if not self.done:
                    self.state, theta = self.method.step(self.state, theta, value_and_gradient)
        except _GivenUp:
            taken = max(0, taken - 1)
        self._set(theta)
        return taken

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state by name, as a checkpoint holds it."""
        return {f"method/{name}": np.asarray(value) for name, value in self.state.items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `arrays` read."""
        self.state = {
            name.removeprefix("method/"): array for name, array in arrays.items() if name.startswith("method/")
        }

    def _check_repeatable(self, rows: Rows) -> None:
        """A line search would chase the noise that dropout makes; and it would move the averages of batch norm."""
        if any(variable.name.startswith("moving_") for variable in self.model.non_trainable_variables):
            raise JobError(
                "this network has batch normalisation, whose averages each look at the cost moves: "
                "newton, conjugate-gradient and lbfgs need one without"
            )
        first, again = (self.functions.cost_and_gradients(rows)[0] for _ in range(2))
        if not math.isfinite(first):
            raise JobError(f"the cost is {first} at the start: there is nowhere to go from", exit_code=1)
        if first != again:
            raise JobError(
                "this network's cost is another each time, from dropout or the like: "
                "newton, conjugate-gradient and lbfgs need one without"
            )

    def _weights(self) -> Vector:
        parts = [np.asarray(self._numpy(variable), np.float64).ravel() for variable in self.model.trainable_variables]
        return np.concatenate(parts)

    def _set(self, theta: Vector) -> None:
        first = 0
        for variable in self.model.trainable_variables:
            size = int(np.prod(variable.shape))
            variable.assign(theta[first : first + size].reshape(variable.shape))
            first += size

    @staticmethod
    def _numpy(variable: Any) -> NDArray[Any]:
        from keras import ops  # noqa: PLC0415  # only once device and floatx are set

        return np.asarray(ops.convert_to_numpy(variable))
