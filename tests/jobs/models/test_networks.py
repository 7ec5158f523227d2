"""The models that are one network trained in one go: their sizes, their first weights, and what they learn."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jobs.datasets.dataset import Dataset
from jobs.errors import JobError
from jobs.models import binary
from tests.once import Once

REPOSITORY = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("network_trainings.py")
PYTHONS = {
    "tensorflow": Path(sys.executable),
    "jax": REPOSITORY / ".venv-jax/bin/python",
    "torch": REPOSITORY / ".venv-torch/bin/python",
}
BARS = {
    "logistic": 0.05,
    "binary": 0.035,
    "mlp": 0.035,
    "keras-mlp": 0.035,
    "lenet": 0.03,
    "cnn": 0.03,
    "rnn": 0.08,
    "lstm": 0.12,
}
"""The share of wrong answers on the held-out digits that each stays below with its own settings."""


def run(backend: str, how: str, folder: Path) -> dict:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GPURUN_", "KERAS_"))}
    done = subprocess.run(
        [PYTHONS[backend], SCRIPT, backend, folder / "found.json", how],
        env={**kept, "PYTHONPATH": str(REPOSITORY)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads((folder / "found.json").read_text()), "stderr": done.stderr}


@pytest.fixture(scope="module")
def found(once: Once) -> dict:
    return once("networks", lambda folder: run("tensorflow", "whole", folder))


def parameters(*layers: tuple[int, int]) -> int:
    return sum((inputs + 1) * units for inputs, units in layers)


@pytest.mark.parametrize(
    ("name", "outputs", "expected"),
    [
        ("logistic", 10, parameters((784, 10))),
        ("binary", 1, parameters((784, 1))),
        ("mlp", 10, parameters((784, 500), (500, 10))),
        ("mlp of deck 4", 10, parameters((784, 20), (20, 10))),
        ("keras-mlp", 10, parameters((784, 512), (512, 512), (512, 10))),
        ("lenet", 10, parameters((25, 20), (25 * 20, 50), (4 * 4 * 50, 500), (500, 10))),
        ("small lenet", 10, parameters((25, 2), (25 * 2, 5), (4 * 4 * 5, 10), (10, 10))),
        ("lenet on digits", 10, parameters((25, 20), (25 * 20, 50), (2 * 2 * 50, 500), (500, 10))),
        ("cnn", 10, parameters((9, 32), (9 * 32, 64), (5 * 5 * 64, 128), (128, 10))),
        ("rnn", 4, parameters((6 + 32, 32), (32, 4))),
        ("lstm", 4, parameters((6 + 32, 4 * 32), (32, 4))),
        ("rnn on pictures", 10, parameters((28 + 32, 32), (32, 10))),
    ],
)
def test_has_the_weights_that_its_layers_say(found, name: str, outputs: int, expected: int):
    assert found["built"][name]["parameters"] == expected
    assert found["built"][name]["outputs"] == [None, outputs]


@pytest.mark.parametrize(
    ("name", "path", "bound"),
    [
        ("logistic", "output/kernel", 0.0),
        ("binary", "output/kernel", 0.0),
        ("mlp", "hidden/kernel", math.sqrt(6 / (784 + 500))),
        ("mlp of sigmoids", "hidden/kernel", 4 * math.sqrt(6 / (784 + 500))),
        ("mlp of deck 4", "hidden/kernel", math.sqrt(6 / (784 + 20))),
        ("lenet", "conv_2/kernel", math.sqrt(6 / (25 * 20 + 25 * 50))),
        ("cnn", "hidden/kernel", math.sqrt(6 / (1600 + 128))),
    ],
)
def test_first_weights_fill_the_range_of_the_deck_and_no_more(found, name: str, path: str, bound: float):
    assert 0.98 * bound <= found["built"][name]["widest"][path] <= bound * (1 + 1e-6)


def test_biases_start_at_zero(found):
    for name, built in found["built"].items():
        for path, widest in built["widest"].items():
            forget = name == "lstm" and path == "lstm/lstm_cell/bias"
            assert not path.endswith("bias") or widest == (1.0 if forget else 0.0), (name, path)


@pytest.mark.parametrize("model", BARS)
def test_learns_the_digits(found, model: str):
    assert found["statuses"][model] == 0
    assert found["errors"][model] < BARS[model]


def test_bias_and_activation_may_come_after_the_pooling(found):
    assert found["pooled"] < 1e-6


@pytest.mark.parametrize("model", ["rnn", "lstm"])
def test_padding_says_nothing(found, model: str):
    without_padding, another_sequence = found["padding"][model]
    assert without_padding < 1e-6
    assert another_sequence > 1e-3


def test_the_seed_alone_says_the_first_weights(found):
    assert found["repeated"]


def test_what_cannot_be_is_said_without_a_traceback(found):
    assert found["statuses"]["lenet on sequences"] == found["statuses"]["binary of class 10"] == 2
    assert "lenet looks at pictures: the rows of these data, (40, 6), are none" in found["stderr"]
    assert "positive is 10: expected a class of these data, 0 to 9" in found["stderr"]
    assert "Traceback" not in found["stderr"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_each_trains_on_another_backend(backend: str, tmp_path: Path):
    if not PYTHONS[backend].exists():
        pytest.skip(f"{PYTHONS[backend].relative_to(REPOSITORY)} is not in the checkout")
    there = run(backend, "quick", tmp_path)
    assert {model: there["statuses"][model] for model in BARS} == dict.fromkeys(BARS, 0)
    assert all(there["errors"][model] < (0.7 if model in {"rnn", "lstm"} else 0.3) for model in BARS), there["errors"]
    assert there["pooled"] < 1e-6
    assert there["padding"]["lstm"][0] < 1e-6


def labelled(classes: int, **more) -> Dataset:
    y = np.arange(6) % classes
    x = np.zeros((6, 2), np.float32)
    return Dataset(name="few", train_x=x, train_y=y, test_x=x, test_y=y[::-1], scale=1, classes=classes, **more)


def test_one_class_stands_against_the_rest():
    rows = labelled(3, valid_x=np.zeros((2, 2), np.float32), valid_y=np.array([2, 1]))
    chosen = binary.one_against_the_rest(rows, 2)
    assert chosen.train_y.tolist() == [0, 0, 1, 0, 0, 1]
    assert chosen.test_y.tolist() == [1, 0, 0, 1, 0, 0]
    assert chosen.valid_y is not None
    assert chosen.valid_y.tolist() == [1, 0]
    assert chosen.classes == 2


def test_two_classes_stay_as_they_are():
    rows = labelled(2)
    assert binary.one_against_the_rest(rows, 1).train_y.tolist() == rows.train_y.tolist()


@pytest.mark.parametrize("positive", [-1, 3])
def test_a_class_that_there_is_not_is_refused(positive: int):
    with pytest.raises(JobError, match="0 to 2"):
        binary.one_against_the_rest(labelled(3), positive)
