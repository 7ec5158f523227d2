"""`gpurun gc` ends what its launcher has left, and the ledger says so."""

import json
import sqlite3

import pytest


def _forget_deadline(laptop, run_id):
    """The run's deadline has passed, and nothing on the machine knew of it."""
    with sqlite3.connect(laptop.state.ledger) as ledger:
        ledger.execute("UPDATE runs SET deadline_at = '2026-01-01T00:00:00.000000+00:00' WHERE run_id = ?", (run_id,))


@pytest.fixture
def abandoned(laptop):
    """A job that goes on, on a machine past its deadline, with its launcher dead."""
    process = laptop.start("launch", "--sandbox", laptop.job("sleep 600\n"))
    laptop.wait_for_event("job.started")
    process.kill()
    process.wait()
    run_id = laptop.runs()[0]["run_id"]
    _forget_deadline(laptop, run_id)
    return run_id


def test_a_run_whose_machine_gc_ended_is_over_for_a_true_reason(laptop, abandoned):
    shown = json.loads(laptop.gpurun("gc", "--sandbox", "--json").stdout)
    assert {"instance", "security-group"} <= {
        each["kind"] for each in shown["would_remove"] if each["run_id"] == abandoned
    }
    assert (shown["closed"], len(laptop.living())) == ([], 1)
    done = laptop.gpurun("gc", "--sandbox", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert laptop.living() == []
    (closed,) = [each for each in json.loads(done.stdout)["closed"] if each["run_id"] == abandoned]
    assert closed["status"] == "failed"
    (run,) = laptop.runs()
    assert run["status"] == "failed"
    for words in ("deadline of 2026-01-01", "had not come home", "gpurun gc ended i-"):
        assert words in closed["reason"]
    assert "is over" in laptop.gpurun("down", abandoned, "--yes").stderr
    again = json.loads(laptop.gpurun("gc", "--sandbox", "--yes", "--json").stdout)
    assert abandoned not in {each["run_id"] for each in again["found"]}
