"""L-BFGS: Newton's direction from the last few steps and what they changed of the gradient, without a Hessian.

Source: deck 4 names it; Liu and Nocedal 1989, with the two-loop recursion (Nocedal and Wright 2006, section 7.2) and
a line search by the strong Wolfe rules, c2 = 0.9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jobs.second_order.line_search import Line, strong_wolfe
from jobs.second_order.method import State, ValueAndGradient, Vector, first_state

CURVATURE = 0.9
FLAT = 1e-10  # a step whose gradient changed less than this share along it tells nothing of the curvature


@dataclass(frozen=True, slots=True)
class LBFGS:
    """The method, without memory: what it knows between two steps is in the state."""

    tolerance: float
    history: int
    """How many steps it remembers."""

    def start(self, theta: Vector, value_and_gradient: ValueAndGradient) -> State:
        """The state at the first weights, (n,)."""
        return {
            **first_state(theta, value_and_gradient, self.tolerance),
            "steps": np.zeros((self.history, len(theta))),  # the newest last
            "changes": np.zeros((self.history, len(theta))),  # of the gradient, by those steps
            "remembered": np.int64(0),
        }

    def step(self, state: State, theta: Vector, value_and_gradient: ValueAndGradient) -> tuple[State, Vector]:
        """The state and the weights one iteration on; the same where it is done."""
        if state["done"]:
            return state, theta
        gradient, remembered = state["gradient"], int(state["remembered"])
        direction = -_times_inverse_hessian(state, gradient)
        line = Line(value_and_gradient, theta, direction).start(float(state["value"]), gradient)
        first_step = 1.0 if remembered else min(1.0, 1.0 / float(np.linalg.norm(gradient)))
        found = strong_wolfe(line, first_step, CURVATURE) if line.origin.slope < 0 else None
        counted = {"iterations": state["iterations"] + 1, "evaluations": state["evaluations"] + line.evaluations}
        if found is None:  # nothing lower there: forget, and where there was nothing to forget, stop
            return {**state, **counted, "remembered": np.int64(0), "done": np.bool_(not remembered)}, theta
        after = line.end(found.step)
        return {
            **counted,
            **_remember(state, after - theta, found.gradient - gradient),
            "value": np.float64(found.value),
            "gradient": found.gradient,
            "done": np.bool_(np.abs(found.gradient).max() <= self.tolerance),
        }, after


def _times_inverse_hessian(state: State, gradient: Vector) -> Vector:
    """The gradient times what the remembered steps tell of the inverse Hessian."""
    remembered = int(state["remembered"])
    if not remembered:
        return gradient
    steps, changes = state["steps"][-remembered:], state["changes"][-remembered:]
    curvatures = np.einsum("ij,ij->i", steps, changes)
    shares = np.zeros(remembered)
    result = gradient.copy()
    for i in reversed(range(remembered)):
        shares[i] = steps[i] @ result / curvatures[i]
        result -= shares[i] * changes[i]
    result *= curvatures[-1] / (changes[-1] @ changes[-1])
    for i in range(remembered):
        result += (shares[i] - changes[i] @ result / curvatures[i]) * steps[i]
    return result


def _remember(state: State, step: Vector, change: Vector) -> State:
    kept = {name: state[name] for name in ("steps", "changes", "remembered")}
    if step @ change <= FLAT * np.linalg.norm(step) * np.linalg.norm(change):
        return kept
    return {
        "steps": np.concatenate([kept["steps"][1:], step[None]]),
        "changes": np.concatenate([kept["changes"][1:], change[None]]),
        "remembered": np.int64(min(int(kept["remembered"]) + 1, len(kept["steps"]))),
    }
