"""What goes on inside the layers while a network trains: Glorot and Bengio's monitors, and Karpathy's ratio.

For each layer with weights, by its name:

- `weight_max`, `update_max`: the largest weight, and the largest change that one step makes (the panels of deck 2);
  `weights_to_updates`: the ratio of their Euclidean norms, about 1,000 in a healthy training (deck 2, from Karpathy).
  Much more and the layer hardly learns, much less and its rate is too high.
- `gradient_mean`, `gradient_std`: of the cost of some rows, by the layer's weights. Near 0 in the first layers alone,
  they vanish on the way back.

For each layer with outputs worth a look, over the same rows as the network sees them at prediction:

- `activation_mean`, `activation_std`.
- `saturated`, after tanh or sigmoid: the share of outputs where the slope is under a twentieth of the steepest.
- `dead`, after ReLU: the share of units (of a convolution: channels) that are 0 for all those rows.

Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010; decks 2, 3
and 4. This module imports Keras: only after `runtime.start`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from jobs import network as networks
from jobs.datasets.dataset import Dataset
from jobs.loop import Session
from jobs.network import Network, Rows
from jobs.optimizers import catalogue as optimizers

ROWS = 128
SAMPLE = (0, 2)
"""Tells the draw of the sample from those of the order, (seed, epoch), and of augmentation, (seed, epoch, 1)."""
FLAT = 0.05
"""Of the steepest slope."""


@dataclass(frozen=True, slots=True)
class Monitor:
    """Looks into one stage's network, at the same rows each time."""

    sample: Rows
    inputs: Any
    """The sample's rows, scaled as the network sees them."""
    layers: Mapping[str, Any]
    """By name, those whose outputs are looked at."""
    outputs: keras.Model | None
    """Answers the outputs of those; None where the network's layers cannot be told apart."""

    def look(self, session: Session, rows: Rows) -> None:
        """Write what there is to see after an epoch; every variable is afterwards as it was before, to the bit."""
        values = {**_weights(session, rows, self.sample), **self._activations()}
        prefix = f"{session.name}/" if session.name else ""
        named = {prefix + name: value for name, value in values.items() if np.isfinite(value)}
        session.metrics.write(step=session.place.step - 1, epoch=session.place.epoch - 1, **named)

    def _activations(self) -> dict[str, float]:
        if self.outputs is None:
            return {}
        found: dict[str, float] = {}
        for name, output in self.outputs(self.inputs, training=False).items():
            values = np.asarray(ops.convert_to_numpy(ops.cast(output, "float32")))
            found |= {f"{name}/{what}": value for what, value in activation(self.layers[name], values).items()}
        return found


def monitor(network: Network, dataset: Dataset) -> Monitor:
    """A monitor with a sample of `dataset`'s training rows."""
    random = np.random.default_rng([network.config.seed, *SAMPLE])
    chosen = np.sort(random.permutation(len(dataset.train_x))[:ROWS])
    x, y = dataset.train_x[chosen], dataset.train_y[chosen]
    inputs = ops.cast(ops.convert_to_tensor(x), network.model.compute_dtype) * dataset.scale
    layers = told_apart(network.model)
    outputs = {name: layer.output for name, layer in layers.items()}
    return Monitor(
        sample=network.rows(x, y),
        inputs=inputs,
        layers=layers,
        outputs=keras.Model(network.model.inputs, outputs) if outputs else None,
    )


def told_apart(model: keras.Model) -> dict[str, Any]:
    """The layers that have something to say, by name; none of a network that is no graph of layers."""
    if not getattr(model, "inputs", None):
        return {}
    kinds = (keras.layers.ReLU, keras.layers.RNN, keras.layers.Bidirectional)
    shown = (layer for layer in model.layers if hasattr(layer, "activation") or isinstance(layer, kinds))
    return {layer.name: layer for layer in shown if isinstance(layer.output, keras.KerasTensor)}


def activation(layer: Any, values: NDArray[np.float32]) -> dict[str, float]:
    """The figures of one layer's outputs (rows, .., units)."""
    found = {"activation_mean": float(values.mean()), "activation_std": float(values.std())}
    kind = function_of(layer)
    if kind == "relu":
        found["dead"] = float((values.reshape(-1, values.shape[-1]) == 0).all(axis=0).mean())
    elif kind == "tanh":
        found["saturated"] = float((1 - values**2 < FLAT).mean())
    elif kind == "sigmoid":
        found["saturated"] = float((4 * values * (1 - values) < FLAT).mean())
    return found


def function_of(layer: Any) -> str:
    """`tanh`, `sigmoid`, `relu`, or another function's name; empty where the outputs are not its values."""
    if isinstance(layer, keras.layers.RNN):
        return ""  # what leaves an LSTM is a product
    if isinstance(layer, keras.layers.ReLU):
        return "relu"
    return str(getattr(getattr(layer, "activation", None), "__name__", ""))


def _weights(session: Session, rows: Rows, sample: Rows) -> dict[str, float]:
    """What one more step would change, and the gradients; the step is then taken back.

    It is the epoch's last batch once more, at its rate: the compiled function that trains is used as it is. Whatever
    either moves (weights, the optimiser's memory, the state of dropout and of batch norm) is put back.
    """
    network, before = session.network, networks.variables(session.network)
    slopes = network.functions.gradients(sample)
    if not network.full_batch:  # whose step looks at every row: it is left out
        _step(session, rows)
    trained = network.model.trainable_variables
    after = {variable.path: np.asarray(ops.convert_to_numpy(variable)) for variable in trained}
    networks.restore(network, before)
    found: dict[str, float] = {}
    for layer, pieces in _by_layer(trained).items():
        weight = np.concatenate([before[f"model/{variable.path}"].ravel() for _, variable in pieces])
        update = np.concatenate([after[variable.path].ravel() for _, variable in pieces]) - weight
        slope = np.concatenate([np.asarray(slopes[number]).ravel() for number, _ in pieces])
        found |= {f"{layer}/{name}": value for name, value in _figures(weight, update, slope).items()}
    return found


def _step(session: Session, rows: Rows) -> None:
    network, batches = session.network, session.epochs.batches
    order = network.functions.put(np.asarray(session.order))
    network.functions.advance(rows, order, batches - 1, batches, *_rates(network, batches))
    network.functions.wait()


def _figures(weight: NDArray[Any], update: NDArray[Any], slope: NDArray[Any]) -> dict[str, float]:
    found = {"weight_max": np.abs(weight).max(), "gradient_mean": slope.mean(), "gradient_std": slope.std()}
    if update.any():
        ratio = np.linalg.norm(weight) / np.linalg.norm(update)
        found |= {"update_max": np.abs(update).max(), "weights_to_updates": ratio}
    return {name: float(value) for name, value in found.items()}


def _by_layer(variables: list[Any]) -> dict[str, list[tuple[int, Any]]]:
    """The weights of each layer, without biases, and their places among the variables."""
    found: dict[str, list[tuple[int, Any]]] = {}
    for number, variable in enumerate(variables):
        if len(variable.shape) > 1:
            found.setdefault(variable.path.rpartition("/")[0], []).append((number, variable))
    return found


def _rates(network: Network, batches: int) -> tuple[Any, Any]:
    """The rate and the momentum of the last step, for each of the epoch's batches."""
    rate, momentum = network.optimizer.learning_rate, optimizers.momentum_variable(network.optimizer)
    put, kind = network.functions.put, str(rate.dtype)
    last = [0.0 if variable is None else float(ops.convert_to_numpy(variable)) for variable in (rate, momentum)]
    return put(np.full(batches, last[0], kind)), put(np.full(batches, last[1], kind))
