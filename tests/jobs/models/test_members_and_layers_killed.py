"""Ensembles, and masks of each kind: killed on the way and gone on from, they end with the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)  # of trainings on three backends, on a machine that may be busy
REPOSITORY = Path(__file__).parents[3]
PROGRAM = REPOSITORY / "tests/jobs/exactness/killing.py"
PYTHONS = {
    "tensorflow": Path(sys.executable),
    "jax": REPOSITORY / ".venv-jax/bin/python",
    "torch": REPOSITORY / ".venv-torch/bin/python",
}
KILLED = (
    "ensemble:epochs=6:set.members=2:set.kind=both",
    "layered-mlp:epochs=16:set.dropout_kind=p-keep:set.input_dropout=0.2",
    "layered-mlp:epochs=12:set.dropout_kind=dropconnect:set.input_dropout=0.2:set.batch_norm=true",
)
KILLS = "5"


@pytest.mark.slow
@pytest.mark.parametrize("backend", list(PYTHONS))
def test_they_end_with_the_same_bytes(tmp_path: Path, backend: str):
    python = PYTHONS[backend]
    if not python.exists():
        pytest.skip(f"{python.relative_to(REPOSITORY)} is not in the checkout")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GPURUN_", "KERAS_"))}
    command = [python, PROGRAM, tmp_path, KILLS, backend, *KILLED]
    environment = {**kept, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(found) == len(KILLED)
    for each in found:
        assert each["equal"], each
        assert each["metrics"], each
        assert each["kills"], each
