"""What layers, first weights and penalties compute on one backend: `python keras_numbers.py OUT.npz`."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np
from keras import ops

from jobs import initializers, penalties, weights
from jobs.layers.blocks import normalised
from jobs.layers.dropconnect import DropConnect
from jobs.layers.dropout import PKeepDropout

found: dict[str, np.ndarray] = {}
random = np.random.default_rng(0)


def keep(name: str, value: object) -> None:
    found[name] = np.asarray(ops.convert_to_numpy(value))


def dropout() -> None:
    x = random.normal(size=(400, 250)).astype("float32")
    layer, twin, inverted = (
        PKeepDropout(0.8, seed=3),
        PKeepDropout(0.8, seed=3),
        keras.layers.Dropout(0.2, seed=3, name="inverted"),
    )
    keep("dropout/x", x)
    for call in ("first", "second"):
        keep(f"dropout/{call}", layer(x, training=True))
        keep(f"dropout/twin {call}", twin(x, training=True))
    resumed = PKeepDropout(0.8, seed=9)
    resumed.seed_generator.state.assign(layer.seed_generator.state)
    keep("dropout/third", layer(x, training=True))
    keep("dropout/resumed", resumed(x, training=True))
    keep("dropout/predicted", layer(x, training=False))
    keep("dropout/by default", layer(x))
    keep("dropout/inverted", inverted(x, training=True))
    keep("dropout/inverted predicted", inverted(x, training=False))
    keep("dropout/other seed", PKeepDropout(0.8, seed=4)(x, training=True))
    half = PKeepDropout(0.8, seed=3, dtype="mixed_bfloat16")(np.ones((2000, 500), "float32"), training=True)
    found["dropout/half type"] = np.array(keras.backend.standardize_dtype(half.dtype))
    keep("dropout/half", ops.cast(half, "float32"))


def drop_connect() -> None:
    layer = DropConnect(300, p_keep=0.75, seed=5, name="layer", bias_initializer=initializers.make("small", 1))
    rows = np.eye(200, dtype="float32")
    keep("connect/first", layer(rows, training=True))
    keep("connect/second", layer(rows, training=True))
    x = random.normal(size=(7, 200)).astype("float32")
    keep("connect/x", x)
    keep("connect/predicted", layer(x, training=False))
    keep("connect/kernel", layer.kernel)
    keep("connect/bias", layer.bias)
    plain = DropConnect(4, p_keep=0.5, seed=5, use_bias=False, activation="relu")
    keep("connect/relu", plain(np.eye(3, dtype="float32"), training=False))
    keep("connect/relu kernel", plain.kernel)


def in_a_model() -> None:
    inputs = keras.Input((6,))
    hidden = PKeepDropout(0.8, seed=1, name="drop")(inputs)
    hidden = DropConnect(5, p_keep=0.5, seed=2, activation="tanh", name="connect")(hidden)
    block = keras.layers.Dense(3, use_bias=False, name="block")
    model = keras.Model(inputs, normalised(block, "sigmoid", hidden))
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse", jit_compile=False)
    x, y = random.normal(size=(32, 6)).astype("float32"), random.random((32, 3)).astype("float32")
    before = [np.asarray(ops.convert_to_numpy(variable)) for variable in model.variables]
    for _ in range(3):
        model.train_on_batch(x, y)
    found["model/changed"] = np.array(
        [
            f"{variable.path} {not np.array_equal(old, ops.convert_to_numpy(variable))}"
            for variable, old in zip(model.variables, before, strict=True)
        ]
    )
    keep("model/predicted", model(x, training=False))
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.keras"))
        loaded = keras.saving.load_model(Path(folder, "model.keras"))
    keep("model/loaded", loaded(x, training=False))
    found["model/kept"] = np.array(
        [loaded.get_layer(name).p_keep for name in ("drop", "connect")]
        + [loaded.get_layer(name).seed for name in ("drop", "connect")]
    )
    found["model/layers"] = np.array([layer.name for layer in model.layers])


def blocks() -> None:
    x = random.normal(size=(50, 4)).astype("float32") * 3 + 1
    linear = keras.layers.Dense(6, use_bias=False, name="hidden")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, normalised(linear, "relu", inputs))
    keep("block/x", x)
    keep("block/kernel", linear.kernel)
    keep("block/trained", model(x, training=True))
    refused = []
    for wrong in (keras.layers.Dense(6), keras.layers.Dense(6, use_bias=False, activation="relu")):
        try:
            normalised(wrong, "relu", inputs)
        except ValueError as error:
            refused.append(str(error))
    found["block/refused"] = np.array(refused)


def first_weights() -> None:
    for name in initializers.NAMES:
        keep(f"first/{name}", initializers.make(name, 7)((300, 200)))
        keep(f"again/{name}", initializers.make(name, 7)((300, 200)))
        keep(f"other/{name}", initializers.make(name, 8)((300, 200)))
        keep(f"window/{name}", initializers.make(name, 7)((5, 5, 30, 20)))
        for floatx in ("float64", "bfloat16"):
            keep(f"{floatx}/{name}", ops.cast(initializers.make(name, 7)((300, 200), dtype=floatx), "float32"))


def saved_plainly() -> None:
    inputs = keras.Input((4, 6))
    start = initializers.make("glorot", 3)
    both = keras.layers.Bidirectional(keras.layers.LSTM(5, kernel_initializer=start))(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, kernel_initializer=initializers.make("small", 4))(both))
    with tempfile.TemporaryDirectory() as folder:
        path = weights.save_model(Path(folder), model)
        with zipfile.ZipFile(path) as archive:
            found["saved/config"] = np.array(archive.read("config.json").decode())
        loaded = keras.saving.load_model(path)
    x = random.normal(size=(3, 4, 6)).astype("float32")
    keep("saved/same", np.abs(ops.convert_to_numpy(model(x)) - ops.convert_to_numpy(loaded(x))).max())


def penalty() -> None:
    tensors = [random.normal(size=shape).astype("float32") for shape in ((3, 4), (4,), (2, 2, 1, 3))]
    for number, tensor in enumerate(tensors):
        keep(f"penalty/{number}", tensor)
    for how in penalties.REDUCTIONS:
        keep(f"penalty/l1 {how}", penalties.l1([keras.Variable(tensor) for tensor in tensors], how))
        keep(f"penalty/l2 {how}", penalties.l2(tensors, how))
    keep("penalty/none", penalties.l1([]))
    layers = [keras.layers.LSTM(2), keras.layers.BatchNormalization(), keras.layers.SeparableConv1D(2, 1)]
    network = keras.Sequential([keras.Input((5, 3)), *layers[1:], layers[0], keras.layers.Dense(1)])
    for biases in (False, True):
        chosen = penalties.penalised(network.trainable_variables, biases=biases)
        found[f"penalised/{biases}"] = np.array(sorted(variable.name for variable in chosen))


for part in (dropout, drop_connect, in_a_model, blocks, first_weights, saved_plainly, penalty):
    part()
np.savez(sys.argv[1], **found)
