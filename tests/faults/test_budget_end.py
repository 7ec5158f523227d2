"""A budget that runs out: the job is stopped in time, what it saved is home, and the bill is under the cap."""

from __future__ import annotations

import json

import pytest

from tests.faults.conftest import counting_job

CAP_USD = 0.05


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_endless_job_ends_on_time_with_its_last_checkpoint_home_and_its_receipt_under_the_cap(laptop):
    job = counting_job(laptop, 1_000_000, 0.05, 10)
    # At 1.1 USD an hour five cents buy 160 s, of which 92 s are kept for the machine to end in.
    arguments = ("--max-cost", str(CAP_USD), "--instance-type", "g5.xlarge", "--spot", "false")
    done = laptop.gpurun("launch", "--sandbox", job, *arguments, timeout_s=200)
    assert done.returncode == 143, done.stderr
    assert "max_cost" in done.stderr
    (receipt,) = laptop.work.glob("runs/*/gpurun/receipt.json")
    assert 0 < json.loads(receipt.read_text())["cost_usd"] < CAP_USD
    (checkpoint,) = laptop.work.glob("runs/*/gpurun/checkpoint/state.json")
    last_line = (receipt.parent / "log.txt").read_text().splitlines()[-1]
    assert last_line.startswith(f"step {json.loads(checkpoint.read_text())['step']} ")
    assert laptop.living() == []
