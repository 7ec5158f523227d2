"""The monitor sees what happens and changes nothing."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.once import Once

PROGRAM = Path(__file__).with_name("monitored.py")
REPOSITORY = Path(__file__).parents[3]
PYTHONS = {
    "tensorflow": Path(sys.executable),
    "jax": REPOSITORY / ".venv-jax" / "bin" / "python",
    "torch": REPOSITORY / ".venv-torch" / "bin" / "python",
}


@pytest.fixture(scope="module", params=list(PYTHONS))
def monitored(request, once: Once) -> tuple[Path, dict]:
    python = PYTHONS[request.param]
    if not python.exists():
        pytest.skip(f"there is no environment with {request.param} alone")

    def make(folder: Path) -> tuple[Path, dict]:
        environ = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
        argv = [python, PROGRAM, request.param]
        done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return folder, json.loads(done.stdout.partition("figures: ")[2])

    return once(f"monitored-{request.param}", make)


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_training_ends_with_the_same_bytes(monitored):
    folder, _ = monitored
    plain, watched = ((folder / f"dropout-{every}" / "weights.pkl").read_bytes() for every in "01")
    assert plain == watched
    names = {line["name"] for line in metrics(folder / "dropout-0")}
    assert names == {"cost", "error"}
    judged = [(line["step"], line["value"]) for line in metrics(folder / "dropout-0")]
    again = [(line["step"], line["value"]) for line in metrics(folder / "dropout-1") if line["name"] in names]
    assert judged == again


def test_looks_after_every_epoch_that_is_due(monitored):
    folder, _ = monitored
    every = [line for line in metrics(folder / "dropout-1") if line["name"] == "output/weight_max"]
    assert [line["epoch"] for line in every] == [0, 1, 2]
    found = {line["name"].rpartition("/")[2] for line in metrics(folder / "dropout-1")} - {"cost", "error"}
    moments = {"gradient_mean", "gradient_std", "activation_mean", "activation_std"}
    assert found == {"weight_max", "update_max", "weights_to_updates", "dead"} | moments
    rarer = [line["epoch"] for line in metrics(folder / "logistic") if line["name"] == "output/weight_max"]
    assert rarer == [2]


def test_figures_of_the_last_epoch_are_those_of_the_last_weights(monitored):
    folder, _ = monitored
    weights = pickle.loads((folder / "dropout-1" / "weights.pkl").read_bytes())
    last = {line["name"]: line["value"] for line in metrics(folder / "dropout-1") if line["epoch"] == 2}
    for name, kernel in weights.items():
        layer, _, kind = name.rpartition("/")
        if kind == "kernel":
            assert last[f"{layer}/weight_max"] == pytest.approx(np.abs(kernel).max())
            assert 0 < last[f"{layer}/update_max"] < last[f"{layer}/weight_max"]


def test_activations_are_judged_by_their_function(monitored):
    _, found = monitored
    assert found["relu"]["dead"] == pytest.approx(1 / 3)  # the middle unit
    assert found["tanh"]["saturated"] == pytest.approx(1 / 6)  # 1.0; the slope at 0.9 is 0.19
    assert found["sigmoid"]["saturated"] == pytest.approx(4 / 6)  # 0 and 1; at 0.9 the slope is 0.36 of the steepest
    moments = {"activation_mean": pytest.approx(0.4), "activation_std": pytest.approx(0.42817, abs=1e-5)}
    assert found["linear"] == moments
    assert found["lstm"] == moments


def test_update_and_gradient_are_those_of_the_formula(monitored):
    """Softmax regression by hand: mean cost of 50 rows, rate 0.2, L2 0.0002 over weights and biases."""
    from jobs.datasets import digits
    from jobs.sampling import order

    folder, _ = monitored
    weights = pickle.loads((folder / "logistic" / "weights.pkl").read_bytes())
    kernel, bias = (weights[f"output/{name}"].astype(np.float64) for name in ("kernel", "bias"))
    data = digits.read()

    def gradient(rows: np.ndarray) -> np.ndarray:
        x = data.train_x[rows] / 16
        powers = np.exp(x @ kernel + bias)
        surplus = powers / powers.sum(axis=1, keepdims=True) - np.eye(10)[data.train_y[rows]]
        return x.T @ surplus / len(rows) + 2 * 0.0002 * kernel

    found = {line["name"]: line["value"] for line in metrics(folder / "logistic")}
    batches = len(data.train_x) // 50
    update = 0.2 * gradient(order.draw("shuffled", 0, 2, data.train_y)[(batches - 1) * 50 : batches * 50])
    assert found["output/update_max"] == pytest.approx(np.abs(update).max(), rel=1e-3)
    ratio = np.linalg.norm(kernel) / np.linalg.norm(update)
    assert found["output/weights_to_updates"] == pytest.approx(ratio, rel=1e-3)
    sample = gradient(np.random.default_rng([0, 0, 2]).permutation(len(data.train_x))[:128])
    assert found["output/gradient_std"] == pytest.approx(sample.std(), rel=1e-4)
    assert found["output/gradient_mean"] == pytest.approx(sample.mean(), abs=1e-7)
