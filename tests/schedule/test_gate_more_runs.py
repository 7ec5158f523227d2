"""Good retrains in a row, a champion that is damaged, and whom nobody is told of."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.places.conftest import Desk, desk
from tests.schedule.weekly import Weekly

__all__ = ["desk"]


def test_three_good_ones_in_a_row(desk: Desk) -> None:
    weekly = Weekly(desk, "--metric", "test_error", "--canary", "2")
    told = [weekly.run(error)["reason"] for error in (0.5, 0.4, 0.7, 0.3, 0.45)]
    assert "good, 1 of 2 in a row" in told[1]
    assert "not better" in told[2]
    assert "good, 1 of 2 in a row" in told[3]
    assert told[4].startswith("promoted instead of tiny@1: test_error 0.45")


def test_a_damaged_champion_ends_the_tick_before_anything_runs(desk: Desk) -> None:
    weekly = Weekly(desk, "--metric", "test_error")
    first = weekly.run(0.5)
    file = next(each for each in weekly.weights("show", "tiny@1")["files"] if each["name"] == "w.npz")
    kept = desk.work / "weights" / "objects" / file["sha256"]
    kept.chmod(0o644)
    kept.write_bytes(b"x" * file["size_bytes"])
    tick = weekly.run(0.4)
    assert (tick["status"], tick["run_id"]) == ("failed", None)
    assert "w.npz of tiny@1 cannot be trusted" in tick["reason"]
    # The next command is told where a person looks, and repairs it.
    assert (
        f"next: gpurun weights verify tiny shows all that is damaged; gpurun weights add {first['run_id']}"
        in (tick["reason"])
    )
    assert f"(each with --store {desk.work / 'weights'})" in tick["reason"]
    assert desk.gpurun("weights", "add", first["run_id"], "--store", str(desk.work / "weights")).returncode == 0
    assert weekly.run(0.4)["status"] == "succeeded"


def test_a_spec_that_is_gone_is_told_with_the_next_command(desk: Desk) -> None:
    weekly = Weekly(desk)
    (desk.work / "job.yaml").rename(desk.work / "jobs.yaml")
    tick = weekly.run(0.5)
    assert (tick["status"], tick["run_id"]) == ("failed", None)
    assert "there is no spec" in tick["reason"]
    assert "; next: " in tick["reason"]


def test_addresses_are_told_to_nobody(desk: Desk) -> None:
    pytest.importorskip("apprise")
    weekly = Weekly(desk, "--notify", "json://me:topsecret@localhost:9/hidden")
    for command in ("show", "list", "history"):
        names = () if command == "list" else ("weekly",)
        for as_json in ((), ("--json",)):
            said = desk.gpurun("schedule", command, *names, *as_json)
            assert "topsecret" not in said.stdout + said.stderr
            assert "hidden" not in said.stdout + said.stderr
    assert "json://****" in desk.gpurun("schedule", "show", "weekly").stdout
    tick = weekly.run(0.5)
    assert tick["status"] == "succeeded"
    (log,) = (desk.state.schedules / "weekly").glob("*.log")
    assert "warning: the notice to json://**** was not sent" in log.read_text()
    assert "topsecret" not in log.read_text()
    assert desk.state.ledger.stat().st_mode & 0o077 == 0
    with closing(sqlite3.connect(desk.state.ledger)) as book:
        assert "topsecret" in book.execute("SELECT options FROM schedules").fetchone()[0]
