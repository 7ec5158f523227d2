"""The gate over real runs on this machine: jobs that train a number, and judge it and the champion's."""

from __future__ import annotations

import json

from tests.places.conftest import Desk, desk
from tests.schedule.weekly import Weekly

__all__ = ["desk"]


def test_a_life_of_a_champion(desk: Desk) -> None:
    weekly = Weekly(desk, "--metric", "test_error", "--min-gain", "10%", "--warm-start", "champion")
    first = weekly.run(0.5)
    assert (first["version"], first["reason"]) == ("tiny@1", "promoted: the first of its name")
    worse = weekly.run(0.9)
    assert worse["status"] == "succeeded"
    assert worse["reason"] == "challenger of tiny@1: test_error 0.9 against 0.5 of tiny@1: not better"
    little = weekly.run(0.46)
    assert "better by 0.04, 0.05 is asked for" in little["reason"]
    better = weekly.run(0.4)
    assert better["reason"] == "promoted instead of tiny@1: test_error 0.4 against 0.5 of tiny@1"
    assert weekly.stages() == ["retired", "challenger", "challenger", "champion"]
    # Where it began, and what is left of the copy that went along.
    assert json.loads((weekly.results(first) / "begun.json").read_text()) is None
    assert json.loads((weekly.results(better) / "begun.json").read_text()) == "champion"
    assert weekly.weights("show", "tiny@4")["about"]["parent"] == 1
    assert not desk.state.run(better["run_id"]).champion.exists()
    broken = weekly.run(float("nan"))
    assert "not finite" in broken["reason"]
    (desk.work / "fails").touch()
    failed = weekly.run(0.1)
    assert (failed["status"], failed["version"]) == ("failed", "")
    assert "trained" in desk.gpurun("logs", failed["run_id"]).stdout
    assert weekly.stages() == ["retired", "challenger", "challenger", "champion", "challenger"]


def test_another_champion_meanwhile(desk: Desk) -> None:
    weekly = Weekly(desk, "--metric", "test_error")
    weekly.run(0.5)
    weekly.run(0.6)
    desk.job("", "gate")
    (desk.work / "error").write_text("0.4")
    assert desk.gpurun("schedule", "run-now", "weekly").returncode == 0
    desk.wait_for(lambda: len([kind for kind, _ in desk.events() if kind == "job.started"]) == 3)
    weekly.weights("promote", "tiny@2")
    (desk.work / "gate").unlink()
    history = ("schedule", "history", "weekly", "--json")
    desk.wait_for(lambda: json.loads(desk.gpurun(*history).stdout)[0]["status"] == "succeeded")
    reason = json.loads(desk.gpurun(*history).stdout)[0]["reason"]
    assert "it was compared with tiny@1, and the champion is tiny@2" in reason
    assert weekly.stages() == ["retired", "champion", "challenger"]
