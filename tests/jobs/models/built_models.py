"""Builds every model for every kind of data, none trained, and writes what came of it as JSON; one process for all.

python built_models.py FOLDER
"""

from __future__ import annotations

import json
import random
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np

from jobs import catalogue, runtime
from jobs.config import resolve
from jobs.datasets import faces, source
from jobs.errors import JobError
from jobs.prepare import fitted

DIGITS = {"input_shape": (64,), "image_shape": (8, 8, 1), "classes": 10}
SMALL = {"key-points": {"hidden_units": (6, 5)}, "key-point-specialists": {"hidden_units": (6, 5)}}
"""Else most of the time goes to millions of first weights."""
SIDES = (8, 12, 15, 16, 28, 48)
CONVOLUTIONS = ("lenet", "cnn", "expressions", "key-points")


def outcome(model: str, data: str) -> dict:
    """How many stages were built, and the error that ended it; a `JobError` is the only one that may."""
    done = {}
    try:
        given = {"data": data, "augment": "none", "batch_size": 8, "options": SMALL.get(model, {})}
        config = resolve(model, given, None)
        dataset = source.load(config.data)
        for stage in catalogue.stages_of(catalogue.find(model), fitted(config, dataset)):
            rows = stage.select(dataset, done)
            network = stage.build(fitted(stage.config, rows))
            stage.begin(network, done)
            done[stage.name] = weights(network)
    except JobError as error:
        return {"stages": len(done), "error": str(error)}
    except Exception:  # noqa: BLE001  # whatever it is, it should not be
        return {"stages": len(done), "error": traceback.format_exc()}
    return {"stages": len(done), "error": ""}


def weights(network) -> dict:
    from jobs import network as networks

    return networks.weights(network)


def build(model: str, data: dict, **given):
    config = replace(resolve(model, given, None), **data)
    return catalogue.find(model).build(config)


def convolved(model: str, side: int, count: int) -> str:
    """What is said of so many convolutions of a picture; empty where they go."""
    options = {"kernels": (1,) * count}
    if model == "key-points":
        options |= {"hidden_units": (2,), "conv_dropout": (0.0,)}
    answers = {"classes": 0, "targets": ("a", "b")} if model == "key-points" else {"classes": 3}
    data = {"input_shape": (side * (side + 3),), "image_shape": (side, side + 3, 1), **answers}
    try:
        network = build(model, data, options=options)
    except JobError as error:
        return str(error)
    return "" if min(network.get_layer(f"conv_{count}_pool").output.shape[1:]) else "a side of 0"


def dropped() -> dict[str, bool]:
    """Whether two trainings' answers differ, by the hidden units, all else the same."""
    found, x = {}, np.ones((3, 64), np.float32)
    for hidden in ("", "20"):
        options = {"hidden_units": hidden, "dropout_kind": "dropconnect", "dropout": "0.25"}
        network = build("layered-mlp", DIGITS, options=options)
        answers = [network(x, training=True).numpy() for _ in range(2)]
        found[hidden] = [bool(np.array_equal(*answers)), network.get_layer("output").get_config().get("p_keep")]
    return found


def widest(model: str, **options) -> dict[str, float]:
    network = build(model, DIGITS, options={"hidden_units": "50", **options})
    return {v.path: float(abs(v.numpy()).max()) for v in network.trainable_variables if v.path.endswith("kernel")}


def penalised() -> list[str]:
    from jobs import penalties

    machine = build("rbm", DIGITS)
    return [v.name for v in penalties.penalised(machine.trainable_variables, biases=True)]


def deck_mlp() -> dict[str, bool]:
    """Whether its seed alone says its weights, and whether building it moves what others draw from."""
    before = random.getstate(), np.random.get_state()[1].tolist()  # it is this that must stay
    first, again, other = (
        np.concatenate([array.ravel() for array in build("deck-mlp", DIGITS, seed=seed).get_weights()])
        for seed in (3, 3, 4)
    )
    after = random.getstate(), np.random.get_state()[1].tolist()  # likewise
    found = {"same": np.array_equal(first, again), "other": np.array_equal(first, other), "untouched": before == after}
    return {name: bool(value) for name, value in found.items()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    faces.write_csv("key-points", 60, 3, folder / "points.csv")
    runtime.start(resolve("logistic", {}, None))
    kinds = ("digits", "sequences", str(folder / "points.csv"))
    told = {
        "outcomes": {model: [outcome(model, data) for data in kinds] for model in catalogue.MODELS},
        "convolved": {
            f"{model} {side}": [convolved(model, side, count) for count in range(1, 7)]
            for model in CONVOLUTIONS
            for side in SIDES
        },
        "dropped": dropped(),
        "widest": {
            "layered": widest("layered-mlp", activation="sigmoid"),
            "layered, as told": widest("layered-mlp", activation="sigmoid", initializer="glorot"),
            "mlp": widest("mlp", activation="sigmoid"),
        },
        "penalised": penalised(),
        "deck-mlp": deck_mlp(),
    }
    (folder / "told.json").write_text(json.dumps(told))
