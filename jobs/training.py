"""A network with its data on the device, and the two compiled functions that train and judge it.

This module imports TensorFlow: only after `runtime.start`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from jobs import catalogue
from jobs.config import Config
from jobs.datasets.dataset import Dataset
from jobs.errors import JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What a training works with."""

    model: keras.Model
    optimizer: keras.Optimizer
    advance: Callable[[Any, Any, Any], None]
    """(order, first, last): train on the batches first .. last - 1 of the rows as `order` has them."""
    evaluate: Callable[[], tuple[Any, Any]]
    """The cost, summed over the held-out rows, and the share of them that it gets wrong."""


def build(config: Config, dataset: Dataset) -> Network:
    """The network of `config` with its first weights, its data resident on the device, its functions compiled.

    Batches are gathered on the device by row number and the loop over them is part of the graph: Python is asked
    once for every line that is printed, not once a step.
    """
    model = catalogue.find(config.model).build(config)
    optimizer = keras.optimizers.SGD(config.learning_rate)
    optimizer.build(model.trainable_variables)
    train_x, test_x = _pixels(dataset.train_x, dataset.scale), _pixels(dataset.test_x, dataset.scale)
    train_y, test_y = tf.constant(dataset.train_y), tf.constant(dataset.test_y)

    def cost_of(x: Any, y: Any, *, training: bool) -> tuple[Any, Any]:
        logits = model(x, training=training)
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
        return tf.reduce_sum(cross_entropy) + sum(model.losses), logits

    def step(rows: Any) -> None:
        x = tf.ensure_shape(tf.gather(train_x, rows), (config.batch_size, *config.input_shape))
        with tf.GradientTape() as tape:
            cost, _ = cost_of(x, tf.gather(train_y, rows), training=True)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(cost, variables), variables)

    def advance(order: Any, first: Any, last: Any) -> None:
        for batch in tf.range(first, last):
            step(order[batch * config.batch_size : (batch + 1) * config.batch_size])

    def evaluate() -> tuple[Any, Any]:
        cost, logits = cost_of(test_x, test_y, training=False)
        wrong = tf.cast(tf.argmax(logits, axis=1) != test_y, tf.float64)
        return cost, tf.reduce_mean(wrong)

    return Network(model=model, optimizer=optimizer, advance=tf.function(advance), evaluate=tf.function(evaluate))


def _pixels(rows: NDArray[np.uint8], scale: float) -> Any:
    """On the device, in floatx, in 0..1."""
    return tf.cast(tf.constant(rows), keras.config.floatx()) * scale


def weights(network: Network) -> dict[str, NDArray[Any]]:
    """The model's variables by their paths, such as `hidden/kernel` (784, 300)."""
    return {variable.path: np.asarray(variable) for variable in network.model.variables}


def variables(network: Network) -> dict[str, NDArray[Any]]:
    """Every variable of model and optimiser, by role and path."""
    return {name: np.asarray(variable) for name, variable in _named(network).items()}


def restore(network: Network, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give them back what `variables` read; raises `JobError` where one is missing or has another shape."""
    for name, variable in _named(network).items():
        _assign(variable, name, arrays)


def set_weights(network: Network, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give the model what `weights` read; raises `JobError` where one is missing or has another shape."""
    for variable in network.model.variables:
        _assign(variable, variable.path, arrays)


def _named(network: Network) -> dict[str, Any]:
    named = {f"model/{variable.path}": variable for variable in network.model.variables}
    return named | {f"optimizer/{variable.path}": variable for variable in network.optimizer.variables}


def _assign(variable: Any, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    if name not in arrays:
        raise JobError(f"there is no {name} among {', '.join(sorted(arrays)) or 'them'}: is this another model's?")
    if arrays[name].shape != tuple(variable.shape):
        raise JobError(
            f"{name} has the shape {arrays[name].shape}, the model on this data {tuple(variable.shape)}: "
            f"is --data the data set that it was trained on?"
        )
    variable.assign(arrays[name])
