"""Ticking in the foreground: pass after pass, asleep in between until the next fire time."""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from launcher import process
from launcher.errors import SpecError
from launcher.paths import StatePaths
from launcher.schedule import deployed, engine, watch

if TYPE_CHECKING:
    from launcher.ledger import Ledger

LONGEST_SLEEP = timedelta(seconds=30)
"""Schedules that were added meanwhile, data, and clocks that jumped are noticed within this time."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def lock(state: StatePaths) -> Path:
    """What the daemon holds while it lives."""
    return state.schedules / "daemon.lock"


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Be the only daemon of a state folder; raises `SpecError` naming the one that there is."""
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read().partition(" ")[0].strip() or "unknown"
            raise SpecError(
                f"process {pid} is the daemon already", hint=f"kill {pid} ends it; its runs go on"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()} {process.started(os.getpid())}\n")
        file.flush()
        yield


def holder(lock: Path) -> int | None:
    """The process that is the daemon of a state folder; `None` where there is none."""
    try:
        pid, _, started = lock.read_text().strip().partition(" ")
    except OSError:
        return None
    return int(pid) if pid.isdecimal() and process.alive(int(pid), started) else None


@contextmanager
def ending() -> Iterator[Callable[[float], bool]]:
    """Within the block SIGINT, SIGTERM and SIGHUP end a sleep: `sleep(seconds)` says whether one came."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def heard(_number: int, _frame: FrameType | None) -> None:
        with suppress(BlockingIOError):
            os.write(writer, b".")

    mine = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, heard) for number in mine}
    try:
        yield lambda seconds: bool(select.select([reader], [], [], seconds)[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def wakes_at(book: Ledger, passed: datetime) -> datetime:
    """When something may be due again after the pass of that time."""
    schedules = [each for each in book.schedules.list() if not each.paused and deployed.of(each) is None]
    looks = [passed + watch.LOCAL_EVERY for each in schedules if each.data and not watch.is_s3(each.data)]
    fires = []
    for schedule in schedules:
        with suppress(SpecError):  # a zone that is no more: every pass tells it
            fires.append(engine.next_fire(schedule, passed))
    return min([passed + LONGEST_SLEEP, *looks, *(each for each in fires if each is not None)])
