"""What `gpurun schedule` says to good and to bad wishes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher import cli

CRON = ("--cron", "0 3 * * 1", "--tz", "Europe/Madrid")
ADD = ("add", "other", "job.yaml")


@pytest.fixture(autouse=True)
def weekly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A schedule in a state folder of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    Path("train.sh").write_text("true\n")
    Path("job.yaml").write_text("name: tiny\nrun: sh train.sh\n")
    assert cli.run(["schedule", "add", "weekly", "job.yaml", *CRON]) == 0
    capsys.readouterr()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(["schedule", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((*ADD, "--cron", "0 3 * * 8"), "field 5, the day of the week: '8'"),
        ((*ADD, "--cron", "0 3 * * 1", "--tz", "Europe/Madird"), "did you mean Europe/Madrid"),
        ((*ADD,), "when is it due?"),
        ((*ADD, "--tz", "UTC", "--on-data-change", "."), "--tz is the zone of --cron"),
        ((*ADD, *CRON, "--missed", "all"), "run-once or skip"),
        ((*ADD, *CRON, "--on", "nowhere"), "--on nowhere"),
        ((*ADD, *CRON, "--on", "local", "--sandbox"), "contradict"),
        ((*ADD, "--on-data-change", "nowhere"), "--on-data-change: "),
        ((*ADD, *CRON, "--min-gain", "1%"), "--min-gain says how --metric is compared"),
        ((*ADD, *CRON, "--canary", "2"), "--canary says how --metric is compared"),
        ((*ADD, *CRON, "--metric", "test error"), "no name of a number"),
        ((*ADD, *CRON, "--metric", "test_error", "--better", "smaller"), "lower or higher"),
        ((*ADD, *CRON, "--metric", "test_error", "--min-gain", "1 in 5"), "--min-gain '1 in 5' is no gain"),
        ((*ADD, *CRON, "--metric", "test_error", "--canary", "0"), "--canary"),
        ((*ADD, *CRON, "--warm-start", "latest"), "champion is expected"),
        (("add", "other", "none.yaml", *CRON), "there is no spec none.yaml"),
        (("add", "An other", "job.yaml", *CRON), "no name for a schedule"),
        (("add", "weekly", "job.yaml", *CRON), "a schedule weekly already"),
        (("show", "weekyl"), "no schedule 'weekyl'"),
        (("pause", "x"), "no schedule 'x'"),
        (("remove", "x"), "no schedule 'x'"),
        (("run-now", "x"), "no schedule 'x'"),
        (("history", "x"), "no schedule 'x'"),
    ],
)
def test_bad_wishes(arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schedule", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "next: " in error
    assert [each["name"] for each in json.loads(said(capsys, "list", "--json"))] == ["weekly"]


def test_a_rehearsal_adds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    dry = json.loads(said(capsys, *ADD, *CRON, "--dry-run", "--json"))
    assert (dry["added"], len(dry["next"])) == (False, 5)
    assert "would fire:\n          Mon " in said(capsys, *ADD, *CRON, "--dry-run")
    assert [each["name"] for each in json.loads(said(capsys, "list", "--json"))] == ["weekly"]


def test_a_life(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shown = json.loads(said(capsys, "show", "weekly", "--json"))
    assert shown["spec"] == str(tmp_path / "job.yaml")
    assert (shown["folder"], shown["store"]) == (str(tmp_path), str(tmp_path / "weights"))
    assert all("T03:00:00+0" in each for each in shown["next"])
    assert "it was never due so far" in said(capsys, "show", "weekly")
    assert said(capsys, "run-due", "--json") == ""
    said(capsys, "pause", "weekly")
    assert "paused" in said(capsys, "list")
    assert json.loads(said(capsys, "show", "weekly", "--json"))["next"] == []
    said(capsys, "resume", "weekly")
    assert "paused" not in said(capsys, "list")
    said(capsys, "remove", "weekly")
    assert "no schedules; make one" in said(capsys, "list")


def test_a_gate_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, *ADD, *CRON, "--metric", "accuracy", "--better", "higher", "--min-gain", "0.1%", "--canary", "3")
    shown = json.loads(said(capsys, "show", "other", "--json"))
    asked = ("accuracy", "higher", "0.1%", 3, None, [])
    assert tuple(shown[name] for name in ("metric", "better", "min_gain", "canary", "warm_start", "notify")) == asked
    told = "accuracy higher than the champion's by at least 0.1%, 3 good retrains in a row"
    assert told in said(capsys, "show", "other")
    plain = json.loads(said(capsys, "show", "weekly", "--json"))
    assert (plain["metric"], plain["canary"]) == (None, None)
    assert "gpurun weights promote decides" in said(capsys, "show", "weekly")


def test_data_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Path("data").mkdir()
    Path("data/a").write_text("one")
    assert "fires on new data" in said(capsys, *ADD, "--on-data-change", "data")
    shown = json.loads(said(capsys, "show", "other", "--json"))
    assert (shown["cron"], shown["on_data_change"]) == (None, str(tmp_path / "data"))
    assert "new data" in said(capsys, "list")
