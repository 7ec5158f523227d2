"""Restricted Boltzmann machines: the free energy of the data, less that of what the machine makes up.

Both are in closed form, and what is made up is held fixed: so the gradient of the difference is that of contrastive
divergence, <v h> of the data less <v h> of the walk. With `k` steps from the data it is CD-k; from chains that go on
from batch to batch it is PCD. Its own value says little (the walk's rows are others in each batch, and the difference
may be negative), so rows are judged by something else: how well they are reconstructed, without any draw.

Sources: deck 4; Hinton 2002 (CD); Tieleman, Training Restricted Boltzmann Machines using Approximations to the
Likelihood Gradient, ICML 2008 (PCD).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

ERROR = "reconstruction"
LAYER = "rbm"
"""The layer of the network that is the machine."""


def costs(model: keras.Model, x: Any, _y: Any, *, training: bool) -> Any:
    """F(v) - F(v') for each row v; v' is what k steps make of it, or for all rows alike the mean over the chains."""
    del training  # there is no other way
    machine = model.get_layer(LAYER)
    logits = machine.to_hidden(x)
    data = machine.free_energy(x, logits)
    if machine.chain is None:
        return data - machine.free_energy(*machine.walk(logits))
    made_up, its_logits = machine.walk(machine.to_hidden(ops.cast(machine.chain, x.dtype)))
    machine.chain.assign(ops.cast(made_up, machine.chain.dtype))
    return data - ops.mean(machine.free_energy(made_up, its_logits))


def judge(model: keras.Model, x: Any, _y: Any) -> tuple[Any, Any, Any]:
    """The cross-entropy in nats of each row's pixels and their reconstruction, the same again, and ones."""
    logits = ops.cast(model(x, training=False), "float32")
    cross_entropy = ops.sum(ops.softplus(logits) - ops.cast(x, "float32") * logits, axis=-1)
    return cross_entropy, cross_entropy, ops.ones_like(cross_entropy)


def error_of(mean_miss: float) -> float:
    """Nats a row."""
    return mean_miss


def decide(outputs: NDArray[Any]) -> NDArray[Any]:
    """The reconstruction: the probability of each pixel to be white."""
    return np.asarray(np.tanh(outputs / 2) / 2 + 0.5)  # the sigmoid; exp would overflow
