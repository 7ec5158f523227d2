"""A signal's exception that strikes in the middle of a write leaves no transaction open and no lock held."""

import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from launcher.ledger import database as database_module
from launcher.ledger.database import Database

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
print("free", flush=True)
sys.stdin.readline()
connection.execute("BEGIN IMMEDIATE")
connection.execute("COMMIT")
print("again", flush=True)
"""
PUT = "INSERT INTO offer_cache VALUES (?, '', '')"


class Struck(BaseException):
    """As the launcher's own signal exceptions."""


@pytest.fixture
def database(path: Path):
    opened = Database(path)
    yield opened
    opened.close()


@pytest.fixture
def holder(database, path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def go_on(process) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def keys(database) -> list[str]:
    return [row["key"] for row in database.read("SELECT key FROM offer_cache ORDER BY key")]


@pytest.fixture
def told():
    """The reading end of a pipe that gets a byte as a signal arrives, while Python still waits in SQLite."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing)
    yield reading
    signal.set_wakeup_fd(before)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("number", [signal.SIGALRM, signal.SIGINT])
def test_a_signal_in_the_wait_for_the_lock(database, holder, told, number):
    """The byte comes at once, the exception only when SQLite has the lock: just then the transaction is open."""

    def strike(_signum, _frame):
        raise Struck

    def release_when_signalled():
        os.read(told, 1)
        go_on(holder)

    before = signal.signal(number, strike)
    releaser = threading.Thread(target=release_when_signalled)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), number))
    releaser.start()
    timer.start()
    try:
        with pytest.raises(Struck) as caught, database.write() as connection:
            connection.execute(PUT, ("never",))
    finally:
        signal.signal(number, before)
        timer.join()
        releaser.join()
    assert "write" in [entry.name for entry in caught.traceback]
    assert holder.stdout.readline() == "free\n"
    go_on(holder)
    assert holder.stdout.readline() == "again\n"
    with database.write() as connection:
        connection.execute(PUT, ("later",))
    assert keys(database) == ["later"]


def strike_at(step: int, body) -> None:
    """Run `body` with an exception at its `step`-th line inside the transaction's code, if it comes so far."""
    left = [step]
    files = {database_module.__file__, sys.modules["contextlib"].__file__}

    def trace(frame, event, _argument):
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] < 0:
                sys.settrace(None)
                raise Struck
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        body()
    finally:
        sys.settrace(before)


def test_an_exception_at_any_line_of_a_write(database, path):
    def put_one() -> None:
        with database.write() as connection:
            connection.execute(PUT, (f"struck-{step}",))

    struck = 0
    for step in range(200):
        try:
            strike_at(step, put_one)
        except Struck as caught:
            struck += 1
            # Its traceback is alive, and with it what had not ended: a launcher goes on from just here.
            with database.write() as connection:
                connection.execute(PUT, (f"later-{step}",))
                caught.__traceback__ = None
                gc.collect()
                connection.execute(PUT, (f"later-still-{step}",))
        else:
            break
        there = keys(database)
        assert {f"later-{step}", f"later-still-{step}"} <= set(there)
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
        other.close()
    assert struck > 20


def test_what_was_struck_is_open_to_other_threads(database):
    def put_and_fail() -> None:
        with database.write() as connection:
            connection.execute(PUT, ("never",))
            raise Struck

    with pytest.raises(Struck):
        put_and_fail()

    def put() -> None:
        with database.write() as connection:
            connection.execute(PUT, ("other",))

    other = threading.Thread(target=put)
    other.start()
    other.join(10)
    assert keys(database) == ["other"]
