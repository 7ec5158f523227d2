"""Ensembles and layered perceptrons on each backend that is at hand: their answers against NumPy, from weights.pkl."""

from __future__ import annotations

import csv
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jobs.catalogue import find, stages_of
from jobs.config import resolve
from jobs.datasets import digits
from tests.jobs.models.member_trainings import ENSEMBLES, LAYERED, SEEDS
from tests.once import Once

pytestmark = pytest.mark.timeout(600)  # of trainings on three backends, on a machine that may be busy
REPOSITORY = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("member_trainings.py")
PYTHONS = {
    "tensorflow": Path(sys.executable),
    "jax": REPOSITORY / ".venv-jax/bin/python",
    "torch": REPOSITORY / ".venv-torch/bin/python",
}
Answers = tuple[np.ndarray, np.ndarray]
"""The classes, and the probability of each."""


@pytest.fixture(scope="module", params=list(PYTHONS))
def trained(request: pytest.FixtureRequest, once: Once) -> Path:
    if not PYTHONS[request.param].exists():
        pytest.skip(f"{PYTHONS[request.param].relative_to(REPOSITORY)} is not in the checkout")
    return trained_on(request.param, once)


def trained_on(backend: str, once: Once) -> Path:
    """Where all of them were trained."""

    def make(folder: Path) -> Path:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GPURUN_", "KERAS_"))}
        command, environment = [PYTHONS[backend], SCRIPT, backend], {**kept, "PYTHONPATH": str(REPOSITORY)}
        with (folder / "told").open("w") as told:
            done = subprocess.run(command, cwd=folder, env=environment, stdout=told, stderr=told, check=False)
        assert done.returncode == 0, (folder / "told").read_text()[-3000:]
        return folder

    return once(f"members-{backend}", make)


@pytest.fixture(scope="module")
def data():
    return digits.read()


def weights(folder: Path) -> dict[str, np.ndarray]:
    return pickle.loads((folder / "weights.pkl").read_bytes())


def predicted(folder: Path) -> Answers:
    rows = list(csv.DictReader((folder / "predicted.csv").read_text(encoding="utf-8").splitlines()))
    return np.array([int(row["class"]) for row in rows]), np.array([float(row["probability"]) for row in rows])


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def members(arrays: dict[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """What each member says: probabilities (members, rows, 10)."""
    found = []
    for number in range(1, 1 + len([name for name in arrays if name.endswith("_hidden/kernel")])):
        kernel, bias, out, out_bias = (
            arrays[f"member_{number}_{part}"].astype(np.float64)
            for part in ("hidden/kernel", "hidden/bias", "output/kernel", "output/bias")
        )
        columns = arrays.get(f"member_{number}_inputs/columns", np.arange(rows.shape[1]))
        found.append(softmax(np.maximum(rows[:, columns] @ kernel + bias, 0) @ out + out_bias))
    return np.array(found)


def together(each: np.ndarray, combine: str) -> np.ndarray:
    """Averaged, or the shares of the votes, (rows, 10)."""
    return each.mean(axis=0) if combine == "average" else np.eye(10)[each.argmax(axis=-1)].mean(axis=0)


@pytest.mark.parametrize(("kind", "combine"), ENSEMBLES)
def test_an_ensemble_answers_as_its_members_do_together(trained: Path, data, kind: str, combine: str):
    folder = trained / f"{kind}-{combine}"
    expected = together(members(weights(folder), data.test_x / 16), combine)
    classes, chances = predicted(folder)
    close = np.sort(expected, axis=1)[:, -2] > expected.max(axis=1) - 1e-4
    told = ~close | (combine == "vote")  # equal votes are no close call: the lower class wins
    assert np.array_equal(classes[told], expected.argmax(axis=1)[told])
    assert chances == pytest.approx(expected[np.arange(len(classes)), classes], abs=2e-5)
    assert json.loads((folder / "result.json").read_text())["error"] == pytest.approx((classes != data.test_y).mean())


@pytest.mark.parametrize(("kind", "combine"), ENSEMBLES)
def test_members_differ_as_the_kind_says(trained: Path, kind: str, combine: str):
    arrays = weights(trained / f"{kind}-{combine}")
    seen = [arrays[name] for name in arrays if name.endswith("_inputs/columns")]
    if kind == "both":
        assert [len(np.unique(columns)) for columns in seen] == [32, 32, 32]
        assert len({columns.tobytes() for columns in seen}) == 3
    else:
        assert not seen
    assert len({arrays[f"member_{number}_hidden/kernel"].tobytes() for number in (1, 2, 3)}) == 3


def test_members_are_trained_on_rows_of_their_own_drawn_with_replacement(data):
    config = resolve("ensemble", {"options": {"members": 3, "row_share": 0.5}}, None)
    *members, together = stages_of(find("ensemble"), config)
    assert [stage.name for stage in members] == ["member-1", "member-2", "member-3"]
    assert (together.config.epochs, together.select(data, {})) == (0, data)
    drawn = [stage.select(data, {}) for stage in members]
    assert len({rows.train_x.tobytes() for rows in drawn}) == 3
    for stage, rows in zip(members, drawn, strict=True):
        assert len(rows.train_x) == round(len(data.train_x) / 2)
        numbers = numbered(data, rows)
        assert np.array_equal(rows.train_y, data.train_y[numbers])
        assert 0.73 < len(np.unique(numbers)) / len(numbers) < 0.84  # 2 (1 - e^-1/2) of them once or more: 0.787
        assert np.array_equal(rows.test_x, data.test_x)
        assert stage.select(data, {}).train_x.tobytes() == rows.train_x.tobytes()
    whole = stages_of(find("ensemble"), resolve("ensemble", {"options": {"kind": "committee"}}, None))
    assert all(stage.select(data, {}) is data for stage in whole)
    assert len({stage.config.seed for stage in whole}) == len(whole)


def numbered(data, rows) -> np.ndarray:
    """Which of the training rows these are."""
    number_of = {row.tobytes(): number for number, row in enumerate(data.train_x)}
    return np.array([number_of[row.tobytes()] for row in rows.train_x])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_an_ensemble_is_no_worse_than_its_members_are_on_average(once: Once, data, seed: int):
    folder = trained_on("tensorflow", once) / f"seed-{seed}"
    each = members(weights(folder), data.test_x / 16)
    alone = (each.argmax(axis=-1) != data.test_y).mean(axis=1)
    assert len(alone) == 3
    assert json.loads((folder / "result.json").read_text())["error"] <= alone.mean()


@pytest.mark.parametrize(("kind", "norm", "_initializer"), LAYERED)
def test_a_layered_perceptron_learns_and_predicts_by_its_dropouts_definition(
    trained: Path, data, kind: str, norm: str, _initializer: str
):
    folder = trained / f"{kind}-{norm}"
    arrays = {name: array.astype(np.float64) for name, array in weights(folder).items()}
    kept, kept_inputs = (0.75, 0.9) if kind in {"p-keep", "dropconnect"} else (1, 1)
    units = data.test_x / 16 * kept_inputs
    for layer in ("hidden_1", "hidden_2"):
        linear = units @ (arrays[f"{layer}/kernel"] * (kept if kind == "dropconnect" else 1))
        if norm == "true":
            mean, variance, gamma, beta = (
                arrays[f"{layer}_norm/{part}"] for part in ("moving_mean", "moving_variance", "gamma", "beta")
            )
            units = np.tanh((linear - mean) / np.sqrt(variance + 1e-3) * gamma + beta)
        else:
            units = np.tanh(linear + arrays[f"{layer}/bias"])
        units = units * (kept if kind == "p-keep" else 1)
    last = arrays["output/kernel"] * (kept if kind == "dropconnect" else 1)
    expected = softmax(units @ last + arrays["output/bias"])
    classes, chances = predicted(folder)
    assert chances == pytest.approx(expected[np.arange(len(classes)), classes], abs=2e-4)
    assert (classes != data.test_y).mean() < 0.2


def test_evaluate_finds_what_the_training_reported(trained: Path):
    told = (trained / "told").read_text()
    found = re.findall(r"evaluate (\S+)\nCost / err: (\S+) / (\S+)\n", told)
    assert len(found) == len(ENSEMBLES) + 1
    for folder, cost, error in found:
        result = json.loads((trained / folder / "result.json").read_text())
        assert (f"{result['cost']:.3f}", f"{result['error']:.3f}") == (cost, error), folder
    assert "retracing" not in told
