"""A champion beside a training: judged on the same rows, and where training begins."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.once import Once

SESSION = """
import os
from jobs.cli import main

def train(folder, *options):
    print(folder, main(["train", "deck-mlp", "--epochs", "1", "--output-dir", folder, *options]))

train("old")
train("beside", "--champion-dir", "old", "--seed", "1")
train("nothing-there", "--champion-dir", "nowhere-else")
train("smaller", "--champion-dir", "old", "--set", "hidden_units=10")
train("standard-old", "--inputs", "standardised", "--set", "hidden_units=20")
train("standard", "--inputs", "standardised", "--set", "hidden_units=20", "--champion-dir", "standard-old")
train("refused", "--initial-weights", "old/weights.pkl", "--set", "hidden_units=10")
train("no-file", "--initial-weights", "old/none.pkl")
train("evil", "--initial-weights", "evil.pkl")
train("more", "--initial-weights", "more.npz")
os.environ |= {"GPURUN_CHAMPION_DIR": "old", "GPURUN_WARM_START": "champion"}
train("warm", "--seed", "1")
"""


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("was-run"),))


@pytest.fixture(scope="module")
def session(jobs_in, once: Once):
    """Many trainings in one process, since TensorFlow takes seconds to import."""

    def make(folder: Path):
        (folder / "evil.pkl").write_bytes(pickle.dumps({"hidden/kernel": Evil()}))
        np.savez(folder / "more.npz", **{"hidden/kernel": np.zeros((64, 300)), "another": np.zeros(1)})
        return folder, jobs_in(folder).run(program=("-c", SESSION))

    return once("champion", make)


def evaluated(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))["evaluated"]


def test_both_are_judged_on_the_same_rows(session) -> None:
    folder, done = session
    old, both = evaluated(folder / "old"), evaluated(folder / "beside")
    assert old["champion"] is None
    assert both["champion"] == old["challenger"]
    assert both["rows_sha256"] == old["rows_sha256"]
    digest = hashlib.sha256((folder / "beside/weights.pkl").read_bytes()).hexdigest()
    assert both["challenger"]["sha256"] == digest != both["champion"]["sha256"]
    result = json.loads((folder / "beside/result.json").read_text())
    assert both["challenger"]["test_error"] == result["error"]
    assert f"The champion on these rows: {old['challenger']['test_error']}" in done.stdout


def test_what_is_written_is_the_challenger(session) -> None:
    folder, _ = session
    pickled = pickle.loads((folder / "beside/weights.pkl").read_bytes())
    old = pickle.loads((folder / "old/weights.pkl").read_bytes())
    assert not np.array_equal(pickled["hidden/kernel"], old["hidden/kernel"])


def test_a_champion_that_does_not_fit_is_told_of(session) -> None:
    folder, done = session
    assert "hidden/kernel has the shape (64, 300)" in evaluated(folder / "smaller")["champion"]["problem"]
    assert evaluated(folder / "nothing-there")["champion"] is None
    assert "smaller 0" in done.stdout


def test_the_champion_sees_rows_through_its_own_inputs(session) -> None:
    folder, _ = session
    both = evaluated(folder / "standard")
    assert both["champion"] == evaluated(folder / "standard-old")["challenger"]


def test_training_begins_with_given_weights(session) -> None:
    folder, done = session
    assert "Training begins with old/weights.pkl" in done.stdout
    both, cold = evaluated(folder / "warm"), evaluated(folder / "beside")
    assert both["challenger"]["test_cost"] < cold["challenger"]["test_cost"]
    assert both["champion"] == cold["champion"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("refused", "old/weights.pkl: hidden/kernel has the shape (64, 300)"),
        ("no-file", "cannot read old/none.pkl"),
        ("evil", "it asks for pathlib.Path.touch"),
        ("more", "more.npz has another, which this network has not"),
    ],
)
def test_weights_that_are_none_of_the_networks(session, name: str, said: str) -> None:
    folder, done = session
    assert f"{name} 2" in done.stdout
    assert said in done.stderr
    assert not (folder / "was-run").exists()


def test_a_model_of_several_stages_does_not_begin_with_weights(jobs, tmp_path: Path) -> None:
    done = jobs.run("train", "dbn", "--initial-weights", "any.pkl")
    assert done.returncode == 2
    assert "stages" in done.stderr
