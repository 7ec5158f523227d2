"""Many processes and threads write at once, and some die in the middle of it."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launcher.domain import RunStatus
from launcher.errors import LedgerError
from launcher.ledger import Ledger

WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from launcher.domain import RunStatus
from launcher.ledger import Ledger, RunRecord

path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
now = datetime.now(UTC)
run = RunRecord(run_id=name, name=name, status=RunStatus.PLANNED, created_at=now, updated_at=now, account="{}",
                region="us-east-1", spec="{}", results_dir="r", token="t")
with Ledger.open(path) as ledger:
    ledger.create(run)
    ledger.advance(name, RunStatus.PROVISIONING)
    number = 0
    while number != count:
        resource = ledger.intend(name, "key", str(number), "us-east-1")
        ledger.event(name, "step", {"number": number, "padding": "x" * 200})
        ledger.released(resource)
        print(number, flush=True)
        number += 1
"""


def writer(path: Path, name: str, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]
    finally:
        connection.close()


def test_twenty_processes_make_the_file_and_write_at_once(path):
    writers = [writer(path, f"run-{number}", 10) for number in range(20)]
    ends = [(*each.communicate(timeout=120), each.returncode) for each in writers]
    assert [(error, status) for _, error, status in ends] == [("", 0)] * 20
    with Ledger.open(path) as ledger:
        for number in range(20):
            steps = [event.data["number"] for event in ledger.events(f"run-{number}") if event.kind == "step"]
            assert steps == list(range(10))
    assert integrity(path) == "ok"


def test_a_writer_killed_in_the_middle_loses_nothing_that_it_had_written(path):
    victims = [writer(path, f"victim-{number}", -1) for number in range(3)]
    for victim in victims:
        for _ in range(8):
            assert victim.stdout.readline() != ""
        os.kill(victim.pid, signal.SIGKILL)
    told = [8 + len(victim.communicate(timeout=60)[0].splitlines()) for victim in victims]
    with Ledger.open(path) as ledger:
        for number, count in enumerate(told):
            name = f"victim-{number}"
            steps = [event.data["number"] for event in ledger.events(name) if event.kind == "step"]
            assert steps == list(range(len(steps)))
            assert len(steps) >= count
            assert ledger.get(name).status is RunStatus.PROVISIONING
        survivor = writer(path, "survivor", 3)
        assert (*survivor.communicate(timeout=60), survivor.returncode) == ("0\n1\n2\n", "", 0)
    assert integrity(path) == "ok"


def test_threads_share_one_ledger(ledger, make_run):
    run = make_run()
    ledger.create(run)
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait()
        for step in range(10):
            ledger.event(run.run_id, "step", {"thread": number, "step": step})
            ledger.cache.put(f"key-{number}", str(step))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    seen = [(event.data["thread"], event.data["step"]) for event in ledger.events(run.run_id)]
    assert sorted(seen) == [(number, step) for number in range(8) for step in range(10)]
    assert [ledger.cache.get(f"key-{number}")[0] for number in range(8)] == ["9"] * 8


def test_only_one_of_two_moves_that_exclude_each_other_wins(path, make_run):
    run = make_run(status=RunStatus.TERMINATING)
    with Ledger.open(path) as ledger:
        ledger.create(run)
    together = threading.Barrier(2)

    def move(status: RunStatus) -> bool:
        with Ledger.open(path) as own:
            together.wait()
            try:
                own.advance(run.run_id, status)
            except LedgerError:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(move, [RunStatus.SUCCEEDED, RunStatus.CANCELLED]))
    assert sorted(won) == [False, True]


def test_an_opener_that_is_told_locked_without_waiting_tries_again(path, make_run, monkeypatch):
    """SQLite's answer to some of several first openers, too rare to be provoked: one of 800."""
    refusals = ["first", "second"]

    class Refusing(sqlite3.Connection):
        def execute(self, sql, *values):
            if "journal_mode" in sql and refusals:
                refusals.pop()
                fault = sqlite3.OperationalError("database is locked")
                fault.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise fault
            return super().execute(sql, *values)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Refusing))
    with Ledger.open(path) as ledger:
        ledger.create(make_run())
    assert refusals == []
