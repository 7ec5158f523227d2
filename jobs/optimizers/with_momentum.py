"""What every optimiser with momentum has: one array of state a weight, and the momentum in a variable.

Keras's own hold the momentum as a number, fixed when the step is compiled; a variable can be moved by a schedule from
step to step within a compiled loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops


class WithMomentum(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras has no types
    """An optimiser that says in `move` what a step is; its arrays have the weights' shapes and are 0 at first."""

    STATE: ClassVar[str]
    """What its arrays are called, in the paths of its variables."""

    def __init__(self, learning_rate: float, momentum: float, name: str) -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        self.momentum = momentum

    def build(self, variables: Sequence[Any]) -> None:
        """Make the state."""
        if self.built:
            return
        super().build(variables)
        start = keras.initializers.Constant(self.momentum)
        self.momentum_variable = self.add_variable(shape=(), initializer=start, name="momentum")
        self.arrays = self.add_optimizer_variables(variables, self.STATE)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one weight, all in its own type."""
        rate, gradient, momentum = (
            ops.cast(each, variable.dtype) for each in (learning_rate, gradient, self.momentum_variable)
        )
        self.move(variable, self.arrays[self._get_variable_index(variable)], gradient, rate, momentum)

    def move(self, variable: Any, array: Any, gradient: Any, rate: Any, momentum: Any) -> None:
        """Assign the weight and its array of state."""
        raise NotImplementedError
