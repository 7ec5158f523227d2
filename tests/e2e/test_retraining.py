"""The digits, trained again every minute on the sandbox cloud while their data grow, and once while it is poisoned."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from jobs.datasets import digits
from tests.e2e.conftest import Laptop

ROOT = Path(__file__).parents[2]
TRAIN = [*("python", "-m", "jobs", "train", "logistic"), *("--epochs", "20", "--batch-size", "20")]
STORE = "weights"
PASS = """
import sys
from datetime import datetime
from launcher.ledger import Ledger
from launcher.paths import StatePaths, state_home
from launcher.schedule import worker
from launcher.schedule.engine import Hands, run_due

state = StatePaths(state_home())
with Ledger.open(state.ledger) as book:
    start = lambda schedule, tick: worker.start(state, book, schedule, tick).wait()
    run_due(book, datetime.fromisoformat(sys.argv[1]), Hands(start=start, cloud=None, trouble=sys.exit))
"""
"""A pass of the engine at a time that is handed in; what it starts are the processes that it always starts."""


class Minutely:
    """A schedule of the digits that fires every minute, and its user's view of what came of it."""

    def __init__(self, laptop: Laptop) -> None:
        self.laptop = laptop
        spec = {"name": "digits", "run": TRAIN, "workdir": str(ROOT), "data": "data", "device": "cpu"}
        laptop.job(json.dumps({**spec, "limits": {"max_hours": 1, "max_cost": 1}}), "digits.yaml")
        (laptop.work / "data").mkdir()
        asked = ("--sandbox", "--cron", "* * * * *", "--metric", "test_error", "--better", "lower", "--store", STORE)
        done = laptop.gpurun("schedule", "add", "minutely", "digits.yaml", *asked)
        assert done.returncode == 0, done.stderr
        self.next = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)

    def data(self, rows: int, *, poisoned: bool = False) -> None:
        """So many training rows; the held-out ones are the same whatever is learnt from."""
        read = digits.read()
        labels = read.train_y[:rows].copy()
        if poisoned:
            np.random.default_rng(0).shuffle(labels)
        path = self.laptop.work / "data" / "digits.npz"
        np.savez(path, x_train=read.train_x[:rows], y_train=labels, x_test=read.test_x, y_test=read.test_y)

    def minute(self) -> dict:
        """The next minute begins; gives its tick, which is over."""
        done = subprocess.run(
            [sys.executable, "-c", PASS, (self.next + timedelta(seconds=1)).isoformat()],
            cwd=self.laptop.work,
            env=self.laptop.environment | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        tick = self.ticks()[0]
        assert (tick["cause"], datetime.fromisoformat(tick["due_at"])) == ("cron", self.next)
        logs = [log.read_text() for log in (self.laptop.state.schedules / "minutely").glob("*.log")]
        assert tick["status"] == "succeeded", [tick["reason"], *logs]
        self.next += timedelta(minutes=1)
        return tick

    def ticks(self) -> list[dict]:
        """Newest first."""
        return json.loads(self.laptop.gpurun("schedule", "history", "minutely", "--json").stdout)

    def weights(self, *arguments: str) -> dict:
        done = self.laptop.gpurun("weights", *arguments, "--store", STORE, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def stages(self) -> list[str]:
        return [each["stage"] for each in self.weights("list", "digits")["versions"]]

    def evaluated(self, tick: dict) -> dict:
        """What the run says of both on the held-out rows."""
        result = self.laptop.work / "runs" / tick["run_id"] / "result.json"
        return json.loads(result.read_text())["evaluated"]

    def champion(self) -> dict[str, str]:
        """The sha256 of every file at the stable address."""
        folder = self.laptop.work / STORE / "digits" / "champion"
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.slow
def test_three_minutes_of_growing_data_one_of_them_poisoned(laptop: Laptop) -> None:
    minutely = Minutely(laptop)
    minutely.data(200)
    first = minutely.minute()
    assert (first["version"], first["reason"]) == ("digits@1", "promoted: the first of its name")
    of_first = minutely.champion()

    minutely.data(600, poisoned=True)
    second = minutely.minute()
    assert second["version"] == "digits@2"
    assert second["reason"].startswith("challenger of digits@1: test_error ")
    assert second["reason"].endswith(" of digits@1: not better")
    assert minutely.champion() == of_first

    minutely.data(1400)
    third = minutely.minute()
    assert third["version"] == "digits@3"
    assert third["reason"].startswith("promoted instead of digits@1: test_error ")
    assert minutely.stages() == ["retired", "challenger", "champion"]

    # The champion went along with the two runs: each measured it beside its own, on the same rows, and told which file.
    evaluations = [minutely.evaluated(tick) for tick in (first, second, third)]
    assert evaluations[0]["champion"] is None
    assert len({each["rows_sha256"] for each in evaluations}) == 1
    own = [minutely.weights("show", f"digits@{number}") for number in (1, 2, 3)]
    files = [{file["sha256"] for file in version["files"] if file["name"] == "weights.pkl"} for version in own]
    for evaluation, file in zip(evaluations, files, strict=True):
        assert {evaluation["challenger"]["sha256"]} == file
    for evaluation in evaluations[1:]:
        assert {evaluation["champion"]["sha256"]} == files[0]
        assert evaluation["champion"]["test_error"] == evaluations[0]["challenger"]["test_error"]
    assert len({version["about"]["data"]["sha256"] for version in own}) == 3

    # What the schedule says of each is what the registry says.
    told = [[(each["action"], each["why"]) for each in version["history"]] for version in own]
    assert [action for ((action, _),) in told] == ["promoted", "refused", "promoted"]
    for tick, ((_, why),) in zip((first, second, third), told, strict=True):
        assert tick["reason"].endswith(f": {why}")
    (refused,) = own[1]["history"]
    assert refused["details"]["gate"]["compared_with"] == 1
    assert refused["details"]["gate"]["evaluation"]["challenger"]["test_error"] > 0.8

    assert minutely.champion() != of_first
    minutely.weights("rollback", "digits")
    assert minutely.champion() == of_first
    assert minutely.stages() == ["champion", "challenger", "retired"]
    assert [tick["version"] for tick in minutely.ticks()] == ["digits@3", "digits@2", "digits@1"]
    assert laptop.living() == []
