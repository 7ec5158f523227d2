"""Builds every model of one network and trains it on the digits; writes what it found as JSON. One process for all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from jobs import runtime
from jobs.cli import main
from jobs.config import resolve

MODELS = ("logistic", "binary", "mlp", "keras-mlp", "lenet", "cnn", "rnn", "lstm")
MNIST = {"input_shape": (784,), "image_shape": (28, 28, 1), "classes": 10}
DIGITS = {"input_shape": (64,), "image_shape": (8, 8, 1), "classes": 10}
SEQUENCES = {"input_shape": (40, 6), "classes": 4}
BUILT = {
    "logistic": ("logistic", {}, MNIST),
    "binary": ("binary", {}, {**MNIST, "classes": 2}),
    "mlp": ("mlp", {}, MNIST),
    "mlp of deck 4": ("mlp", {"hidden_units": 20, "activation": "tanh"}, MNIST),
    "mlp of sigmoids": ("mlp", {"activation": "sigmoid"}, MNIST),
    "keras-mlp": ("keras-mlp", {}, MNIST),
    "lenet": ("lenet", {}, MNIST),
    "small lenet": ("lenet", {"kernels": (2, 5), "hidden_units": 10}, MNIST),
    "lenet on digits": ("lenet", {}, DIGITS),
    "cnn": ("cnn", {}, MNIST),
    "rnn": ("rnn", {}, SEQUENCES),
    "lstm": ("lstm", {}, SEQUENCES),
    "rnn on pictures": ("rnn", {}, MNIST),
}


def build(model: str, options: dict, data: dict, **more):
    from dataclasses import replace

    from jobs import catalogue

    config = replace(resolve(model, {"options": options, **more}, None), **data)
    return catalogue.find(model).build(config)


def shapes() -> dict:
    found = {}
    for name, (model, options, data) in BUILT.items():
        network = build(model, options, data)
        weights = network.trainable_variables
        found[name] = {
            "outputs": list(network.output_shape),
            "parameters": sum(_size(variable) for variable in weights),
            "widest": {variable.path: float(abs(_numpy(variable)).max()) for variable in weights},
            "layers": [layer.name for layer in network.layers if layer.variables],
        }
    return found


def _numpy(variable):
    from keras import ops

    return ops.convert_to_numpy(variable)


def _size(variable) -> int:
    return int(_numpy(variable).size)


def pooled() -> float:
    """How far apart the two orders are: bias and activation after the pooling, and before."""
    import keras
    import numpy as np

    from jobs.layers.bias import Bias

    x = np.random.default_rng(0).normal(size=(3, 6, 6, 4)).astype("float32")
    after = Bias(activation="tanh")
    after.build((None, 3, 3, 4))
    bias = np.array([-1, 0, 0.5, 2], "float32")
    after.bias.assign(bias)
    pool = keras.layers.MaxPooling2D()
    return float(abs(_numpy(after(pool(x))) - _numpy(pool(keras.ops.tanh(x + bias)))).max())


def padding() -> dict:
    """By model: how far the answer for a sequence moves when its padding goes, and when a step of it goes."""
    import numpy as np

    found = {}
    for model in ("rnn", "lstm"):
        network = build(model, {}, SEQUENCES)
        shorter = build(model, {}, {**SEQUENCES, "input_shape": (12, 6)})
        shorter.set_weights(network.get_weights())
        x = np.full((1, 40, 6), -1, "float32")
        x[0, :12] = np.eye(6, dtype="float32")[np.arange(12) % 6]
        whole, cut, less = _numpy(network(x)), _numpy(shorter(x[:, :12])), _numpy(shorter(x[:, 1:13]))
        found[model] = [float(abs(whole - cut).max()), float(abs(whole - less).max())]
    return found


def repeated() -> bool:
    """Whether the same seed draws the same first weights, and another seed others."""
    import numpy as np

    def first(seed: int):
        return np.concatenate([array.ravel() for array in build("cnn", {}, DIGITS, seed=seed).get_weights()])

    return bool(np.array_equal(first(3), first(3)) and not np.array_equal(first(3), first(4)))


def train(model: str, *arguments: str) -> int:
    backend = runtime_backend()
    return main(["train", model, "--backend", backend, "--threads", "1", "--output-dir", model, *arguments])


def runtime_backend() -> str:
    import keras

    return str(keras.backend.backend())


if __name__ == "__main__":
    backend, target, quick = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "quick"
    runtime.start(resolve("logistic", {"backend": backend}, None))
    runtime.start = lambda config: None  # once in a process, and this one trains many times
    statuses = {model: train(model, *(["--epochs", "3"] if quick else [])) for model in MODELS}
    statuses["lenet on sequences"] = train("lenet", "--data", "sequences", "--augment", "none")
    statuses["binary of class 10"] = train("binary", "--set", "positive=10")
    found = {"statuses": statuses, "pooled": pooled(), "padding": padding(), "repeated": repeated()}
    found["built"] = shapes()
    found["errors"] = {model: json.loads(Path(model, "result.json").read_text())["error"] for model in MODELS}
    target.write_text(json.dumps(found))
