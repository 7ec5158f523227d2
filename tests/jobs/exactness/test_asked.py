"""SIGUSR1 asks for a checkpoint and nothing else; a training that is done stays what it is, however often it is run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("asking.py")
REPOSITORY = Path(__file__).parents[3]
PYTHONS = {
    "tensorflow": Path(sys.executable),
    "jax": REPOSITORY / ".venv-jax/bin/python",
    "torch": REPOSITORY / ".venv-torch/bin/python",
}
QUICK_S = 20.0
"""Most of it compiling, on a machine that may be busy; nothing is trained."""


@pytest.mark.parametrize(
    ("backend", "model"),
    [
        ("tensorflow", "layered-mlp:epochs=60:hold_out=0.2:early_stopping=since-best,patience=60"),
        pytest.param("jax", "mlp:epochs=15", marks=pytest.mark.slow),
        pytest.param("torch", "mlp:epochs=15", marks=pytest.mark.slow),
    ],
)
def test_asked_for_a_checkpoint_or_stopped_when_done_the_bytes_are_the_same(
    tmp_path: Path, backend: str, model: str
) -> None:
    if not PYTHONS[backend].exists():
        pytest.skip(f"{backend} is not installed beside")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GPURUN_", "KERAS_"))}
    done = subprocess.run(
        [PYTHONS[backend], PROGRAM, tmp_path, backend, model],
        capture_output=True,
        text=True,
        env={**kept, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "GPURUN_NO_CACHE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["whole"] == found["again"] == 0
    assert found["again_same"]
    assert not found["again_trained"]
    assert found["again_s"] < QUICK_S
    assert found["asked"] == [-signal.SIGKILL, 0, True, True]
    # Exit status, whether there was a result; then of the next process: exit status, same bytes, whether it trained.
    assert found["last_batch"] == found["last_save"] == [128 + signal.SIGTERM, False, 0, True, False]
