"""The process that launches one tick's run and sees it through, in a session of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from launcher import ownprocess, process
from launcher.errors import SpecError
from launcher.ledger import Owner

if TYPE_CHECKING:
    from launcher.ledger import Ledger, ScheduleRecord, TickRecord
    from launcher.paths import StatePaths

NOBODY = Owner(pid=0, started=None)


def this_process() -> Owner:
    """The present process as the owner of a tick."""
    return Owner(pid=os.getpid(), started=process.started(os.getpid()))


def log_file(state: StatePaths, schedule: str, tick_id: int) -> Path:
    """What a tick's process said."""
    return state.schedules / schedule / f"{tick_id}.log"


def start(state: StatePaths, book: Ledger, schedule: ScheduleRecord, tick: TickRecord) -> subprocess.Popen[bytes]:
    """Start it and hand it the tick: the end of this process, or of its terminal, does not reach it.

    Raises `SpecError` where the schedule's folder is gone, `OSError` where no process can be started.
    """
    if not Path(schedule.folder).is_dir():
        raise SpecError(f"the folder {schedule.folder} is not there", hint=f"mkdir -p {schedule.folder}")
    log = log_file(state, schedule.name, tick.tick_id)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            ownprocess.command("launcher.cli", "schedule", "attend", str(tick.tick_id), tick.token),
            env=ownprocess.environment(),
            cwd=schedule.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    book.ticks.hand(tick, Owner(pid=child.pid, started=process.started(child.pid)))
    return child
