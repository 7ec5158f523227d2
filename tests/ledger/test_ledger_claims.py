"""One launcher at a time has a run."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from launcher import process
from launcher.errors import LedgerError

CLAIMER = """
import os, sys
from pathlib import Path
from launcher import process
from launcher.ledger import Ledger

with Ledger.open(Path(sys.argv[1])) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    won = ledger.claim(sys.argv[2], os.getpid(), process.started(os.getpid()), alive=process.alive)
    print(won, flush=True)
    sys.stdin.readline()
"""


def all_dead(_pid: int | None, _started: str | None) -> bool:
    return False


def all_living(pid: int | None, _started: str | None) -> bool:
    return pid is not None


@pytest.fixture
def run(ledger, make_run):
    record = make_run()
    ledger.create(record)
    return record


def holder(ledger, run) -> tuple[int | None, str | None, bool]:
    record = ledger.get(run.run_id)
    return record.launcher_pid, record.launcher_started, record.detached


def go_on(claimer: "subprocess.Popen[str]") -> None:
    claimer.stdin.write("\n")
    claimer.stdin.flush()


def test_one_of_twenty_processes_gets_a_run_and_it_is_free_again_when_that_one_dies(ledger, path, run):
    ledger.update(run.run_id, launcher_pid=os.getpid(), launcher_started="of a former process", detached=True)
    command = [sys.executable, "-c", CLAIMER, str(path), run.run_id]
    claimers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(20)]
    try:
        assert [each.stdout.readline() for each in claimers] == ["ready\n"] * 20
        for each in claimers:
            go_on(each)
        won = [each.stdout.readline() == "True\n" for each in claimers]
        assert sum(won) == 1
        winner = claimers[won.index(True)]
        assert holder(ledger, run) == (winner.pid, process.started(winner.pid), False)
    finally:
        for each in claimers:
            each.kill()
            each.communicate()
    own = process.started(os.getpid())
    assert ledger.claim(run.run_id, os.getpid(), own, alive=process.alive)
    assert holder(ledger, run) == (os.getpid(), own, False)


@pytest.mark.parametrize(
    ("pid", "started", "alive", "won"),
    [
        (7, "monday", all_living, True),
        (7, "tuesday", all_living, False),
        (8, "monday", all_living, False),
        (8, "tuesday", all_dead, True),
    ],
)
def test_who_may_claim_what_7_has(ledger, run, pid: int, started: str, alive: Callable[..., bool], won: bool):
    ledger.update(run.run_id, launcher_pid=7, launcher_started="monday", detached=True)
    assert ledger.claim(run.run_id, pid, started, alive=alive) is won
    assert holder(ledger, run) == ((pid, started, False) if won else (7, "monday", True))


def test_a_run_that_nobody_has_is_free(ledger, run):
    assert ledger.claim(run.run_id, 7, "monday", alive=all_living)


def test_release_lets_go_of_our_own_alone(ledger, run):
    ledger.claim(run.run_id, 7, "monday", alive=all_living)
    ledger.release(run.run_id, 8)
    assert holder(ledger, run) == (7, "monday", False)
    ledger.release(run.run_id, 7)
    assert holder(ledger, run) == (None, None, False)


def test_a_run_that_is_not_there(ledger):
    with pytest.raises(LedgerError, match="not in the ledger"):
        ledger.claim("nothing", 7, "monday", alive=all_living)
    ledger.release("nothing", 7)
