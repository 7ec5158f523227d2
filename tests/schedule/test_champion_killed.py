"""A retraining whose process is killed as it takes the champion along: gone on with, it is judged like any other."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.places.conftest import Desk, desk
from tests.schedule.weekly import Weekly

__all__ = ["desk"]

DIES = """
import os, signal, sys
from datetime import UTC, datetime
from launcher.commands import retrain
from launcher.ledger import Ledger
from launcher.paths import StatePaths, state_home
from launcher.schedule import carry
from launcher.schedule.engine import Hands, run_now

where, write, stow = sys.argv[1], Ledger.event, carry.stow

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def event(book, run_id, kind, data=None):
    number = write(book, run_id, kind, data)
    return die() if kind == where else number

def before(live, champion):
    return die() if where == "before" else stow(live, champion)

Ledger.event, carry.stow = event, before
with Ledger.open(StatePaths(state_home()).ledger) as book:
    attend = lambda schedule, tick: retrain.attend(tick.tick_id, tick.token)
    run_now(book, book.schedules.get("weekly"), datetime.now(UTC), Hands(start=attend, cloud=None, trouble=print))
"""


MOMENTS = ("before", "champion")
"""Ahead of its event, and at it."""


@pytest.mark.parametrize("moment", MOMENTS)
def test_one_killed_as_the_champion_is_taken_along(desk: Desk, moment: str) -> None:
    weekly = Weekly(desk, "--metric", "test_error", "--warm-start", "champion")
    weekly.run(0.5)
    (desk.work / "error").write_text("0.4")
    killed = subprocess.run([sys.executable, "-c", DIES, moment], env=desk.environment, cwd=desk.work, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [run["status"] for run in desk.runs()].count("succeeded") == 1
    done = desk.gpurun("schedule", "run-due", "--wait")
    assert done.returncode == 0, done.stderr
    assert weekly.stages() == ["retired", "champion"], done.stdout
