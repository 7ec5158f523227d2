"""JAX: the same loop as a pure function of all variables, compiled by XLA; the variables are set when it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from numpy.typing import NDArray

from jobs.network import Parts, Rows


@dataclass(frozen=True, slots=True)
class Functions:
    """See `jobs.network.Functions`."""

    parts: Parts
    train: Any
    sums: Any
    outputs: Any
    slopes: Any

    def put(self, array: NDArray[Any]) -> Any:
        """On the default device."""
        return jnp.asarray(array)

    def advance(self, rows: Rows, order: Any, first: int, last: int, rates: Any, momenta: Any) -> None:
        """Train on these batches."""
        after = self.train(_state(self.parts), rows, order, first, last, rates, momenta)
        for held, values in zip(_variables(self.parts), after, strict=True):
            for variable, value in zip(held, values, strict=True):
                variable.assign(value)

    def judge(self, x: Any, y: Any) -> NDArray[Any]:
        """The sums over these rows."""
        return np.asarray(self.sums(_state(self.parts), x, y))

    def answer(self, x: Any) -> NDArray[Any]:
        """The outputs for these rows."""
        return np.asarray(self.outputs(_state(self.parts), x), np.float32)

    def gradients(self, rows: Rows) -> Sequence[NDArray[Any]]:
        """Of the cost of these rows."""
        return self.cost_and_gradients(rows)[1]

    def cost_and_gradients(self, rows: Rows) -> tuple[float, Sequence[NDArray[Any]]]:
        """What they cost, and the same."""
        cost, slopes = self.slopes(_state(self.parts), rows)
        return float(cost), [np.asarray(slope) for slope in slopes]

    def wait(self) -> None:
        """Calls return before they are done; the last to be set is the optimiser's."""
        jax.block_until_ready([variable.value for variable in self.parts.optimizer.variables])


def compiled(parts: Parts) -> Functions:
    """The functions for these parts."""
    size = parts.batch_size

    def cost(trained: Any, others: Any, rows: Rows) -> tuple[Any, Any]:
        with _scope(parts, trained, others) as scope:
            total = parts.cost(rows)
        return total, [scope.get_current_value(variable) for variable in parts.model.non_trainable_variables]

    def train(state: Any, rows: Rows, order: Any, first: Any, last: Any, rates: Any, momenta: Any) -> Any:
        def step(batch: Any, state: Any) -> Any:
            trained, others, kept = state
            chosen = jax.lax.dynamic_slice_in_dim(order, batch * size, size)
            taken = Rows(*(jnp.take(part, chosen, axis=0) for part in rows if part is not None))
            slopes, others = jax.grad(cost, has_aux=True)(trained, others, taken)
            kept = _with_rates(parts, kept, rates[batch], momenta[batch])
            trained, kept = parts.optimizer.stateless_apply(kept, slopes, trained)
            return list(trained), list(others), list(kept)

        return jax.lax.fori_loop(first, last, step, state)

    def judge(state: Any, x: Any, y: Any) -> Any:
        with _scope(parts, *state[:2]):
            return parts.judge(x, y)

    def answer(state: Any, x: Any) -> Any:
        with _scope(parts, *state[:2]):
            return parts.answer(x)

    def slopes(state: Any, rows: Rows) -> Any:
        (total, _), found = jax.value_and_grad(cost, has_aux=True)(*state[:2], rows)
        return total, found

    if not parts.compiled:
        jax.config.update("jax_disable_jit", True)  # JAX's own way to say it
    return Functions(parts, jax.jit(train, donate_argnums=0), jax.jit(judge), jax.jit(answer), jax.jit(slopes))


def _variables(parts: Parts) -> tuple[list[Any], list[Any], list[Any]]:
    model = parts.model
    return model.trainable_variables, model.non_trainable_variables, parts.optimizer.variables


def _state(parts: Parts) -> tuple[list[Any], ...]:
    return tuple([variable.value for variable in held] for held in _variables(parts))


def _scope(parts: Parts, trained: Any, others: Any) -> Any:
    """Within it the model's variables have these values, and what is assigned to them is caught."""
    model = parts.model
    pairs = [
        *zip(model.trainable_variables, trained, strict=True),
        *zip(model.non_trainable_variables, others, strict=True),
    ]
    return keras.StatelessScope(state_mapping=pairs)


def _with_rates(parts: Parts, kept: Any, rate: Any, momentum: Any) -> list[Any]:
    """The optimiser's values, with the rate and the momentum of this step."""
    replaced = []
    for variable, value in zip(parts.optimizer.variables, kept, strict=True):
        if variable is parts.optimizer.learning_rate:
            replaced.append(jnp.asarray(rate, value.dtype))
        elif parts.momentum is not None and variable is parts.momentum:
            replaced.append(jnp.asarray(momentum, value.dtype))
        else:
            replaced.append(value)
    return replaced
