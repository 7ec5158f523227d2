"""Newton's method: straight to where the cost would be lowest, were it the paraboloid that it looks like from here.

    theta = theta - H^-1 gradient

Source: deck 0, which has no learning rate here, and none is needed near the minimum. Far from it two things keep the
cost from rising: where the Hessian H is not positive definite, a multiple of the identity is added to it; and the
step is halved until Armijo's rule takes it (Nocedal and Wright 2006, section 3.4). Where neither is needed, the step
is the deck's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.errors import JobError
from jobs.second_order.line_search import Line, armijo
from jobs.second_order.method import State, ValueAndGradient, Vector, first_state

LIMIT = 3000
"""Parameters: their Hessian has 72 MB, and by differences costs 6000 gradients a step."""

Matrix = NDArray[np.float64]
Hessian = Callable[[Vector], Matrix]


@dataclass(frozen=True, slots=True)
class Newton:
    """The method, without memory: what it knows between two steps is in the state."""

    tolerance: float
    difference: float
    hessian: Hessian | None = None
    """(n,) -> (n, n), symmetric; None: by central differences of the gradient, `difference` apart to either side."""

    def start(self, theta: Vector, value_and_gradient: ValueAndGradient) -> State:
        """The state at the first weights, (n,); raises `JobError` where n is above LIMIT."""
        if len(theta) > LIMIT:
            raise JobError(
                f"newton is for up to {LIMIT:,} parameters, the model has {len(theta):,}: "
                f"lbfgs or conjugate-gradient need no Hessian"
            )
        return first_state(theta, value_and_gradient, self.tolerance)

    def step(self, state: State, theta: Vector, value_and_gradient: ValueAndGradient) -> tuple[State, Vector]:
        """The state and the weights one iteration on; the same where it is done."""
        if state["done"]:
            return state, theta
        if self.hessian is None:
            matrix, evaluations = by_differences(theta, value_and_gradient, self.difference), 2 * len(theta)
        else:
            matrix, evaluations = self.hessian(theta), 0
        direction = -np.linalg.solve(damped(matrix), state["gradient"]).astype(np.float64)
        line = Line(value_and_gradient, theta, direction).start(float(state["value"]), state["gradient"])
        found = armijo(line)
        counted = {
            "iterations": state["iterations"] + 1,
            "evaluations": state["evaluations"] + evaluations + line.evaluations,
        }
        if found is None:  # rounding hides whatever would be lower
            return {**state, **counted, "done": np.bool_(True)}, theta
        return {
            **counted,
            "value": np.float64(found.value),
            "gradient": found.gradient,
            "done": np.bool_(np.abs(found.gradient).max() <= self.tolerance),
        }, line.end(found.step)


def by_differences(theta: Vector, value_and_gradient: ValueAndGradient, difference: float) -> Matrix:
    """The Hessian at `theta` from 2n gradients: (n, n)."""
    matrix = np.empty((len(theta), len(theta)))
    for i in range(len(theta)):
        away = np.zeros_like(theta)
        away[i] = difference * max(1.0, abs(theta[i]))
        there, back = (value_and_gradient(theta + sign * away)[1] for sign in (1, -1))
        matrix[i] = (there - back) / (2 * away[i])
    return 0.5 * (matrix + matrix.T)


def damped(matrix: Matrix) -> Matrix:
    """The matrix, with the least of some multiples of the identity added that makes it positive definite."""
    if not np.isfinite(matrix).all():
        raise JobError("newton: the Hessian holds values that are no numbers: scale the inputs, or add a penalty")
    scale = float(np.abs(matrix).max()) or 1.0
    damping = 0.0
    while not _is_positive_definite(matrix + damping * np.eye(len(matrix)), scale):
        damping = max(10 * damping, 1e-8 * scale)
    return matrix + damping * np.eye(len(matrix))


def _is_positive_definite(matrix: Matrix, scale: float) -> bool:
    """Whether it has a Cholesky factor with no pivot that might be rounding."""
    try:
        pivots = np.diagonal(np.linalg.cholesky(matrix)) ** 2
    except np.linalg.LinAlgError:
        return False
    return bool(pivots.min() > 1e-12 * scale)
