"""A training that is killed and goes on ends with the same bytes as one that was left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import catalogue
from jobs.datasets import faces

pytestmark = pytest.mark.timeout(900)  # a hundred trainings, on a machine that may be busy
PROGRAM = Path(__file__).with_name("killing.py")
REPOSITORY = Path(__file__).parents[3]
PYTHONS = {
    "tensorflow": Path(sys.executable),
    "jax": REPOSITORY / ".venv-jax/bin/python",
    "torch": REPOSITORY / ".venv-torch/bin/python",
}
KILLS = "5"
"""For each model."""
ENOUGH = 3
"""Of them: the last may come when there is nothing left to do."""

FACES = ":threads=1:batch_size=16:epochs=6:set.kernels=2,3,4"
EVERY = (
    "deck-mlp:epochs=40:floatx=bfloat16",
    "logistic:hold_out=0.2:early_stopping=since-best,patience=4",
    "binary:epochs=80",
    "mlp:epochs=20",
    "keras-mlp:epochs=8",
    "lenet:epochs=6",
    "cnn:epochs=6:augment=shift",
    "rnn:epochs=8",
    "lstm:epochs=6",
    "rbm:epochs=8:set.persistent_chains=20",
    "dbn:epochs=6:set.hidden_units=100,60:set.pretraining_epochs=4",
    "layered-mlp:epochs=12:set.dropout_kind=dropconnect:set.input_dropout=0.2:set.batch_norm=true",
    "ensemble:epochs=6:set.members=2:set.kind=both",
    "key-points:data=points.csv:set.hidden_units=10,10:augment=key-points" + FACES,
    "key-point-specialists:data=points.csv:set.hidden_units=10,10:set.specialist_epochs=3" + FACES,
    "expressions:data=expressions.csv" + FACES,
)
SOME = (
    "keras-mlp:epochs=8",
    "cnn:epochs=6",
    "layered-mlp:epochs=12:set.dropout_kind=p-keep:set.input_dropout=0.2",
    "layered-mlp:epochs=12:set.dropout_kind=dropconnect:set.input_dropout=0.2:set.batch_norm=true",
    "ensemble:epochs=6:set.members=2:set.kind=both",
)
"""On the other backends: dropout of each kind, and layers that keep averages."""


def check(folder: Path, backend: str, *models: str) -> None:
    python = PYTHONS[backend]
    if not python.exists():
        pytest.skip(f"{python.relative_to(REPOSITORY)} is not there: .ci/backends makes it")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GPURUN_", "KERAS_"))}
    done = subprocess.run(
        [python, PROGRAM, folder, KILLS, backend, *models],
        env={**kept, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "GPURUN_NO_CACHE": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [each["model"] for each in found] == [model.partition(":")[0] for model in models]
    wrong = [each for each in found if not (each["equal"] and each["metrics"] and each["resumed"])]
    assert not wrong
    assert min(each["kills"] for each in found) >= ENOUGH


@pytest.mark.slow
def test_every_model_on_tensorflow(tmp_path: Path):
    assert {model.partition(":")[0] for model in EVERY} == set(catalogue.MODELS)
    faces.write_csv("key-points", 150, 0, tmp_path / "points.csv")
    faces.write_csv("expressions", 150, 0, tmp_path / "expressions.csv")
    check(tmp_path, "tensorflow", *EVERY)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_masks_and_averages_on_the_other_backends(tmp_path: Path, backend: str):
    check(tmp_path, backend, *SOME)
