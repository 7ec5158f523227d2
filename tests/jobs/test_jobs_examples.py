"""The examples keep the job contract that they show."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_pi_goes_on_from_its_checkpoint_to_the_same_number(jobs, tmp_path: Path):
    whole = jobs.run(program=(str(EXAMPLES / "pi.py"),))
    assert whole.returncode == 0, whole.stderr
    expected = json.loads((tmp_path / "output" / "pi.json").read_text(encoding="utf-8"))
    assert expected["pi"] == pytest.approx(3.1416, abs=0.01)
    variables = {"GPURUN_OUTPUT_DIR": str(tmp_path / "out"), "GPURUN_CHECKPOINT_DIR": str(tmp_path / "check")}
    with jobs.start(program=(str(EXAMPLES / "pi.py"),), **variables) as process:
        next(line for line in process.stdout if line.startswith("round 3:"))
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 143
    assert not (tmp_path / "out" / "pi.json").exists()
    again = jobs.run(program=(str(EXAMPLES / "pi.py"),), **variables)
    assert "round 1:" not in again.stdout
    assert json.loads((tmp_path / "out" / "pi.json").read_text(encoding="utf-8")) == expected
    steps = [json.loads(line)["step"] for line in (tmp_path / "out" / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert steps == list(range(1, 51))
