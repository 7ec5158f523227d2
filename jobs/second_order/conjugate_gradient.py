"""Nonlinear conjugate gradient: each direction is downhill, and spoils little of what the one before reached.

    direction = -gradient + beta * direction
    beta      = max(0, gradient . (gradient - gradient_before) / |gradient_before|²)

Source: deck 4 names it; this is Polak and Ribiere's, which starts anew where beta would be negative (Nocedal and
Wright 2006, section 5.2), with a line search by the strong Wolfe rules, c2 = 0.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jobs.second_order.line_search import Line, strong_wolfe
from jobs.second_order.method import State, ValueAndGradient, Vector, first_state

CURVATURE = 0.1


@dataclass(frozen=True, slots=True)
class ConjugateGradient:
    """The method, without memory: what it knows between two steps is in the state."""

    tolerance: float

    def start(self, theta: Vector, value_and_gradient: ValueAndGradient) -> State:
        """The state at the first weights, (n,)."""
        state = first_state(theta, value_and_gradient, self.tolerance)
        return {
            **state,
            "direction": -state["gradient"],
            "fall": np.float64(0),  # of the cost, by the step before
        }

    def step(self, state: State, theta: Vector, value_and_gradient: ValueAndGradient) -> tuple[State, Vector]:
        """The state and the weights one iteration on; the same where it is done."""
        if state["done"]:
            return state, theta
        gradient, direction = state["gradient"], state["direction"]
        if gradient @ direction >= 0:
            direction = -gradient
        line = Line(value_and_gradient, theta, direction).start(float(state["value"]), gradient)
        found = strong_wolfe(line, _first_step(state, line), CURVATURE)
        counted = {"iterations": state["iterations"] + 1, "evaluations": state["evaluations"] + line.evaluations}
        if found is None:  # nothing lower in this direction: try straight down, and where this was it, stop
            straight = np.array_equal(direction, -gradient)
            afresh = {"direction": -gradient, "fall": np.float64(0), "done": np.bool_(straight)}
            return {**state, **counted, **afresh}, theta
        beta = max(0.0, float(found.gradient @ (found.gradient - gradient)) / float(gradient @ gradient))
        return {
            **counted,
            "value": np.float64(found.value),
            "gradient": found.gradient,
            "done": np.bool_(np.abs(found.gradient).max() <= self.tolerance),
            "direction": -found.gradient + beta * direction,
            "fall": np.float64(line.origin.value - found.value),
        }, line.end(found.step)


def _first_step(state: State, line: Line) -> float:
    """Where a parabola would be lowest that falls as far as the cost fell last; the first of all at most 1 long."""
    if state["fall"] == 0:
        return min(1.0, 1.0 / float(np.linalg.norm(line.direction)))
    return min(1.0, -2.02 * float(state["fall"]) / line.origin.slope)
