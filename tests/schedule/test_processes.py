"""Real processes: many at once on one state folder, some of them killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.places.conftest import Desk, desk

__all__ = ["desk"]

TRAIN = """
import numpy, os, pathlib, time
out = pathlib.Path(os.environ["GPURUN_OUTPUT_DIR"])
numpy.savez(out / "w.npz", a=numpy.arange(3.0))
print("trained", flush=True)
while pathlib.Path({gate!r}).exists():
    time.sleep(0.05)
"""
DIES = """
import os, signal
from datetime import UTC, datetime
from launcher.ledger import Ledger
from launcher.paths import StatePaths, state_home
from launcher.schedule.engine import Hands, run_due

die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with Ledger.open(StatePaths(state_home()).ledger) as book:
    run_due(book, datetime.now(UTC), Hands(start=die, cloud=die, trouble=print))
"""


@pytest.fixture
def weekly(desk: Desk) -> Desk:
    """A schedule of a job that trains for as long as the file `gate` is there."""
    desk.job(TRAIN.format(gate=str(desk.work / "gate")), "train.py")
    desk.job(f"name: tiny\nrun: {sys.executable} train.py\n", "job.yaml")
    done = desk.gpurun("schedule", "add", "weekly", "job.yaml", "--cron", "0 3 * * 1", "--on", "local")
    assert done.returncode == 0, done.stderr
    return desk


def make_due(desk: Desk) -> None:
    """As if it had been made two weeks ago, and nobody had kept the time since."""
    with closing(sqlite3.connect(desk.state.ledger, timeout=20)) as book, book:
        book.execute("UPDATE schedules SET considered_at = '2026-01-01T00:00:00.000000+00:00'")


def history(desk: Desk) -> list[dict]:
    return json.loads(desk.gpurun("schedule", "history", "weekly", "--json").stdout)


def worker(desk: Desk) -> int:
    with closing(sqlite3.connect(desk.state.ledger, timeout=20)) as book:
        return book.execute("SELECT owner_pid FROM schedule_ticks WHERE status = 'running'").fetchone()[0]


def test_of_many_passes_at_once_one_launches(weekly: Desk) -> None:
    make_due(weekly)
    passes = [weekly.start("schedule", "run-due", "--wait", "--json") for _ in range(6)]
    assert [each.wait(60) for each in passes] == [0] * 6, weekly.stderr()
    (tick,) = history(weekly)
    assert (tick["status"], tick["cause"], tick["version"]) == ("succeeded", "cron", "tiny@1")
    assert weekly.run()["run_id"] == tick["run_id"]
    listed = json.loads(weekly.gpurun("weights", "list", "tiny", "--json").stdout)
    assert [each["stage"] for each in listed["versions"]] == ["champion"]


def test_one_killed_between_the_tick_and_the_launch_is_told(weekly: Desk) -> None:
    make_due(weekly)
    killed = subprocess.run([sys.executable, "-c", DIES], env=weekly.environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [tick["status"] for tick in history(weekly)] == ["taken"]
    done = weekly.gpurun("schedule", "run-due")
    assert (done.returncode, done.stderr) == (0, "")
    (tick,) = history(weekly)
    assert (tick["status"], tick["reason"]) == ("failed", "the process died before it had made a run")
    assert weekly.runs() == []


def test_one_killed_while_its_job_trains_is_gone_on_with(weekly: Desk) -> None:
    weekly.job("", "gate")
    done = weekly.gpurun("schedule", "run-now", "weekly")
    assert (done.returncode, done.stderr) == (0, "")
    weekly.wait_for_event("job.started")
    os.kill(worker(weekly), signal.SIGKILL)
    busy = weekly.gpurun("schedule", "run-now", "weekly")
    assert busy.returncode == 2
    assert f"still running {weekly.run()['run_id']}" in busy.stderr
    (weekly.work / "gate").unlink()
    done = weekly.gpurun("schedule", "run-due", "--wait")
    assert done.returncode == 0, done.stderr
    first = history(weekly)[-1]
    assert (first["status"], first["version"], first["run_id"]) == ("succeeded", "tiny@1", weekly.run()["run_id"])


def test_the_daemon_takes_what_is_due_and_leaves_it_running(weekly: Desk) -> None:
    weekly.job("", "gate")
    make_due(weekly)
    daemon = weekly.start("schedule", "daemon")
    weekly.wait_for_event("job.started")
    second = weekly.gpurun("schedule", "daemon")
    assert second.returncode == 2
    assert f"process {daemon.pid} is the daemon already" in second.stderr
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
    (weekly.work / "gate").unlink()
    weekly.wait_for(lambda: history(weekly)[0]["status"] == "succeeded")
    third = weekly.start("schedule", "daemon")
    weekly.wait_for(lambda: weekly.stdout().count("keeping the time") == 2)
    third.send_signal(signal.SIGINT)
    assert third.wait(10) == 0
    assert len(history(weekly)) == 1


def test_a_job_that_fails_and_one_whose_spec_is_gone(weekly: Desk) -> None:
    weekly.job("raise SystemExit(3)", "train.py")
    assert weekly.gpurun("schedule", "run-now", "weekly", "--wait").returncode == 1
    (weekly.work / "job.yaml").unlink()
    assert weekly.gpurun("schedule", "run-now", "weekly", "--wait").returncode == 1
    gone, failed = history(weekly)
    assert (failed["status"], failed["version"]) == ("failed", "")
    assert "3" in failed["reason"]
    assert "there is no spec" in gone["reason"]
    assert gone["run_id"] is None
