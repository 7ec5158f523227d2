"""Training that is taken from machine to machine ends with the weights that it would have had on one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

ROOT = Path(__file__).parents[2]
EPOCHS = 1500
MAX_COST_USD = 0.05


def _spec(laptop) -> str:
    (laptop.work / "train.yaml").write_text(
        f"name: train\nworkdir: {ROOT}\n"
        f"run: [python, -m, jobs, train, deck-mlp, --data, digits, --epochs, '{EPOCHS}']\n"
        f"device: cpu\nlimits: {{max_cost: {MAX_COST_USD}, max_hours: 0.5}}\n"
    )
    return "train.yaml"


def _interrupt_in_training(laptop, torment, number: int) -> None:
    """Take the machine number `number` back when the job has trained on it for a while."""
    laptop.wait_for(lambda: _starts(laptop) == number, timeout_s=120)
    before = len(_log(laptop))
    laptop.wait_for(lambda: len(_log(laptop)) > before + 2000, timeout_s=120)
    torment.interrupt(laptop.runs()[0]["instance_id"], in_s=100)
    laptop.wait_for(lambda: _starts(laptop) == number + 1, timeout_s=120)


def _starts(laptop) -> int:
    return [kind for kind, _ in laptop.events()].count("job.started")


def _log(laptop) -> bytes:
    return b"".join(path.read_bytes() for path in laptop.state.runs.glob("*/log"))


def _same_log_there(laptop) -> None:
    """The log on the machine, which holds what all machines wrote, is the one at home."""
    home = _log(laptop)
    run_id = laptop.runs()[0]["run_id"]
    there = laptop.gpurun("ssh", run_id, "--", f"head -c {len(home)} gpurun/{run_id}/log | sha256sum")
    assert there.returncode == 0, there.stderr
    assert there.stdout.split()[0] == hashlib.sha256(home).hexdigest()


def _weights(folder: Path) -> dict[str, bytes]:
    (run,) = folder.glob("runs/*")
    return {path.name: path.read_bytes() for path in run.glob("*.pkl")}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_training_interrupted_twice_has_the_weights_of_one_that_was_not(laptop, torment):
    process = laptop.start("launch", "--sandbox", _spec(laptop))
    for number in (1, 2):
        _interrupt_in_training(laptop, torment, number)
    _same_log_there(laptop)
    assert process.wait(200) == 0, laptop.stderr()
    (run,) = laptop.runs()
    assert [segment["number"] for segment in run["segments"]] == [1, 2, 3]
    assert run["cost_usd"] < MAX_COST_USD
    interrupted = _weights(laptop.work)

    (laptop.work / "whole").mkdir()
    whole = laptop.gpurun(
        "launch", "--sandbox", "train.yaml", "--outputs", str(laptop.work / "whole/runs"), timeout_s=200
    )
    assert whole.returncode == 0, whole.stderr
    assert interrupted
    assert interrupted == _weights(laptop.work / "whole")
    assert laptop.living() == []
