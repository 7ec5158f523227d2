"""Run every optimiser over given gradients, rates and momentums, on the backend of KERAS_BACKEND.

    python trajectories.py GIVEN.npz FOLDER

GIVEN has `rates` (steps,), `momentums` (steps,), and by variable its start and its gradients. FOLDER comes to hold
float32.npz and float64.npz. Each has, by optimiser: the weights after each step; all of weights and state after the
last; the same of a run that was cut in the middle and went on in a fresh optimiser from saved arrays.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

from jobs.optimizers import catalogue

OPTIONS = {"sign-agreement": {"largest": 1.3, "smallest": 0.8}}
VARIABLES = ("layer/kernel", "layer/bias")


def compiled(optimizer, weights):
    """(rates, momentums, gradients) -> the weights after each step, (steps, ..) each; run as the engine runs them."""
    return {"tensorflow": in_graph, "jax": in_jit, "torch": eager}[keras.backend.backend()](optimizer, weights)


def in_graph(optimizer, weights):
    import tensorflow as tf

    @tf.function
    def loop(rates, momentums, gradients):
        kept = [tf.TensorArray(weight.dtype, len(rates)) for weight in weights]
        for i in tf.range(len(rates)):
            optimizer.learning_rate.assign(rates[i])
            if catalogue.momentum_variable(optimizer) is not None:
                catalogue.momentum_variable(optimizer).assign(momentums[i])
            optimizer.apply([each[i] for each in gradients], weights)
            kept = [array.write(i, weight.value) for array, weight in zip(kept, weights, strict=True)]
        return [array.stack() for array in kept]

    def advance(rates, momentums, gradients):
        rates, momentums = (tf.constant(each, keras.config.floatx()) for each in (rates, momentums))
        return [np.asarray(each) for each in loop(rates, momentums, [tf.constant(each) for each in gradients])]

    return advance


def in_jit(optimizer, weights):
    import jax

    places = {id(variable): i for i, variable in enumerate(optimizer.variables)}
    rate_place = places[id(optimizer.learning_rate)]
    momentum_place = places.get(id(catalogue.momentum_variable(optimizer)))

    @jax.jit
    def loop(weight_values, state, series):
        def step(carry, given):
            weight_values, state = carry
            rate, momentum, gradients = given
            state = list(state)
            state[rate_place] = rate
            if momentum_place is not None:
                state[momentum_place] = momentum
            weight_values, state = optimizer.stateless_apply(state, list(gradients), weight_values)
            return (weight_values, state), weight_values

        return jax.lax.scan(step, (weight_values, state), series)

    def advance(rates, momentums, gradients):
        floatx = keras.config.floatx()
        start = [each.value for each in weights], [each.value for each in optimizer.variables]
        (weight_values, state), kept = loop(*start, (rates.astype(floatx), momentums.astype(floatx), tuple(gradients)))
        for variable, value in zip([*weights, *optimizer.variables], [*weight_values, *state], strict=True):
            variable.assign(value)
        return [np.asarray(each) for each in kept]

    return advance


def eager(optimizer, weights):
    def advance(rates, momentums, gradients):
        kept = [[] for _ in weights]
        for i, rate in enumerate(rates):
            optimizer.learning_rate.assign(rate)
            if catalogue.momentum_variable(optimizer) is not None:
                catalogue.momentum_variable(optimizer).assign(momentums[i])
            optimizer.apply([keras.ops.convert_to_tensor(each[i]) for each in gradients], weights)
            for each, weight in zip(kept, weights, strict=True):
                each.append(keras.ops.convert_to_numpy(weight).copy())
        return [np.stack(each) for each in kept]

    return advance


def build(name, starts):
    """Fresh weights and a fresh optimiser for them."""
    weights = []
    for path, start in starts.items():
        layer, _, each = path.partition("/")
        with keras.name_scope(layer):
            weights.append(keras.Variable(start, name=each, dtype=keras.config.floatx()))
    optimizer = catalogue.make(name, 0.5, OPTIONS.get(name, {}))
    optimizer.build(weights)
    return weights, optimizer


def saved(weights, optimizer):
    variables = [*weights, *optimizer.variables]
    arrays = {each.path: keras.ops.convert_to_numpy(each).copy() for each in variables}
    assert len(arrays) == len(variables), sorted(arrays)  # each path is of one variable
    return arrays


def run(given, floatx: str):
    keras.config.set_floatx(floatx)
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", floatx == "float64")
    starts = {path: given[f"start/{path}"].astype(floatx) for path in VARIABLES}
    gradients = [given[f"gradients/{path}"].astype(floatx) for path in VARIABLES]
    rates, momentums = given["rates"], given["momentums"]
    middle = len(rates) // 2
    halves = [
        (rates[part], momentums[part], [each[part] for each in gradients])
        for part in (slice(None, middle), slice(middle, None))
    ]
    result = {}
    for name in catalogue.OPTIMIZERS:
        weights, optimizer = build(name, starts)
        advance = compiled(optimizer, weights)
        before = advance(*halves[0])
        arrays = saved(weights, optimizer)
        after = advance(*halves[1])
        result |= {
            f"{name}/kept/{path}": np.concatenate(each) for path, *each in zip(VARIABLES, before, after, strict=True)
        }
        result |= {f"{name}/whole/{path}": each for path, each in saved(weights, optimizer).items()}

        weights, optimizer = build(name, starts)
        for variable in [*weights, *optimizer.variables]:
            variable.assign(arrays[variable.path])
        compiled(optimizer, weights)(*halves[1])
        result |= {f"{name}/resumed/{path}": each for path, each in saved(weights, optimizer).items()}
    return result


if __name__ == "__main__":
    for each in ("float32", "float64"):
        np.savez(Path(sys.argv[2], each), **run(dict(np.load(sys.argv[1])), each))
