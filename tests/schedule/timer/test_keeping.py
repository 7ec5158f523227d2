"""Who keeps the time; and what the installed line does when cron's shell runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.paths import StatePaths
from launcher.schedule.timer import script
from launcher.schedule.timer.entry import Entry
from launcher.schedule.timer.keeping import one_pass
from tests.places.conftest import Desk, desk
from tests.schedule.timer.conftest import Cli, Machine

__all__ = ["desk"]

PRINTS = "import json,os,sys; print(json.dumps([{k: v for k, v in os.environ.items()}, sys.argv[1:]]))"
TRAIN = """
import numpy, os, pathlib
numpy.savez(pathlib.Path(os.environ["GPURUN_OUTPUT_DIR"], "w.npz"), a=numpy.ones(2))
"""
values = st.text(st.characters(blacklist_characters="\x00", blacklist_categories=("Cs",)), max_size=30)


@given(value=values, word=values)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_script_gives_every_value_to_the_byte(tmp_path: Path, value: str, word: str) -> None:
    entry = Entry(
        program=(sys.executable, "-ISc", PRINTS, word),
        environment={"GIVEN": value},
        state=StatePaths(tmp_path / "st %'\"$x"),
        every_min=1,
    )
    file = script.file(entry, "systemd", logs=False)
    place = tmp_path / "it.sh"
    place.write_bytes(file.content)
    done = subprocess.run(["/bin/sh", str(place), "more"], env={}, capture_output=True, check=True)
    environment, arguments = json.loads(done.stdout)
    assert environment["GIVEN"] == value
    assert arguments == [word, "more"]


def test_the_log_stays_small(tmp_path: Path) -> None:
    state = StatePaths(tmp_path / "st %'\"$x")
    state.schedules.mkdir(parents=True)
    entry = Entry(program=("/bin/echo", "x" * 999), environment={"PATH": os.defpath}, state=state, every_min=1)
    place = tmp_path / "it.sh"
    place.write_bytes(script.file(entry, "crontab", logs=True).content)
    script.log(state).write_bytes(b"y" * (script.LOG_LIMIT_BYTES - 500))
    for _ in range(3):
        done = subprocess.run(["/bin/sh", str(place)], env={}, capture_output=True, check=True)
        assert (done.stdout, done.stderr) == (b"", b"")
    assert script.log(state).stat().st_size == 2 * 1000
    assert script.log(state).with_suffix(".log.1").stat().st_size == script.LOG_LIMIT_BYTES + 500


def test_a_pass_is_not_piled_upon_another(machine: Machine, gpurun: Cli) -> None:
    with one_pass(machine.state) as first, one_pass(machine.state) as second:
        assert (first, second) == (True, False)
        assert gpurun.run("run-due", "--alone") == ("", "")
    with one_pass(machine.state) as third:
        assert third


def due(desk: Desk) -> None:
    with closing(sqlite3.connect(desk.state.ledger, timeout=20)) as book, book:
        book.execute("UPDATE schedules SET considered_at = '2026-01-01T00:00:00.000000+00:00'")


@pytest.fixture
def weekly(desk: Desk, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A due schedule on a computer that has a crontab; its programs are found before the real ones."""
    machine.only("crontab")
    (machine.home / "bin" / "launchctl").unlink(missing_ok=True)
    monkeypatch.setenv(
        "PATH", f"{machine.home / 'bin'}:{os.defpath}:{Path(shutil.which('sh', path=os.defpath)).parent}"
    )
    desk.job(TRAIN, "train.py")
    desk.job(f"name: tiny\nrun: {sys.executable} train.py\n", "job.yaml")
    done = desk.gpurun("schedule", "add", "weekly", "job.yaml", "--cron", "0 3 * * 1", "--on", "local")
    assert "next: nobody keeps the time: gpurun schedule install" in done.stdout, done.stderr
    due(desk)
    return desk


def history(desk: Desk) -> list[dict]:
    return json.loads(desk.gpurun("schedule", "history", "weekly", "--json").stdout)


def kept_by(desk: Desk) -> dict:
    return json.loads(desk.gpurun("schedule", "show", "weekly", "--json").stdout)["kept_by"]


def test_the_installed_line_takes_a_due_tick(weekly: Desk, machine: Machine) -> None:
    done = weekly.gpurun("schedule", "install", "--yes", "--with", "crontab")
    assert done.returncode == 0, done.stderr
    listed = weekly.gpurun("schedule", "list").stdout
    assert "a line in the crontab, every minute, keeps the time; it has not called yet" in listed
    command = machine.table.read_bytes().split(b" ", 5)[5].rstrip(b"\n")
    ran = subprocess.run(["env", "-i", "/bin/sh", "-c", command], cwd="/", capture_output=True, check=True)
    assert (ran.stdout, ran.stderr) == (b"", b"")
    weekly.wait_for(lambda: history(weekly)[0]["status"] not in {"taken", "running"})
    (tick,) = history(weekly)
    assert (tick["status"], tick["version"]) == ("succeeded", "tiny@1")
    assert "weekly  cron  taken" in script.log(weekly.state).read_text()
    assert kept_by(weekly)["entries"] == ["crontab"]
    assert kept_by(weekly)["passed_at"] is not None
    assert "it last called" in weekly.gpurun("schedule", "show", "weekly").stdout
    os.utime(weekly.state.schedules / "run-due.lock", (1e9, 1e9))
    os.utime(script.path(weekly.state, "crontab"), (1e9, 1e9))
    assert "it should have called by now; look at: crontab -l" in weekly.gpurun("schedule", "list").stdout
    script.path(weekly.state, "crontab").unlink()
    assert "which is gone: gpurun schedule install mends it" in weekly.gpurun("schedule", "list").stdout
    assert kept_by(weekly)["entries"] == []


def test_a_daemon_keeps_the_time_as_long_as_it_lives(weekly: Desk) -> None:
    daemon = weekly.start("schedule", "daemon")
    weekly.wait_for(lambda: kept_by(weekly)["daemon"] == daemon.pid)
    assert f"process {daemon.pid}, the daemon, keeps the time" in weekly.gpurun("schedule", "list").stdout
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    assert kept_by(weekly)["daemon"] is None
    assert "nobody keeps the time" in weekly.gpurun("schedule", "list").stdout
