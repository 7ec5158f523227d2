"""Who keeps the time of a state folder at present: a daemon, a scheduler's entry, or nobody."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from launcher.errors import GpurunError
from launcher.paths import StatePaths
from launcher.schedule import daemon
from launcher.schedule.timer import kinds
from launcher.schedule.timer.plan import Found

LATE = timedelta(minutes=3)
"""A scheduler that is so much behind does not tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What there is; all of it may be there at once, since each tick is taken once."""

    daemon_pid: int | None
    entries: tuple[Found, ...]
    """Of this state folder, their scripts there."""
    elsewhere: tuple[Found, ...]
    """Entries of other state folders, or whose scripts are gone."""
    passed_at: datetime | None
    """When an entry last called."""

    @property
    def anybody(self) -> bool:
        """Whether what is due will be launched."""
        return self.daemon_pid is not None or bool(self.entries)

    def silent(self, now: datetime) -> bool:
        """Whether there is an entry that should have called long ago, and did not."""
        if not self.entries:
            return False
        installed_at = min(datetime.fromtimestamp(each.script.stat().st_mtime, UTC) for each in self.entries)
        limit = LATE + timedelta(minutes=min(each.every_min for each in self.entries))
        return now - max(installed_at, self.passed_at or installed_at) > limit


def keeping(state: StatePaths) -> Keeping:
    """Look at the daemon's lock and at every scheduler's entry; what cannot be looked at is left out."""
    found: list[Found] = []
    for each in kinds.every():
        with suppress(GpurunError, OSError):
            entry = each.found()
            if entry is not None:
                found.append(entry)
    mine = tuple(each for each in found if each.of(state) and each.script.is_file())
    return Keeping(
        daemon_pid=daemon.holder(daemon.lock(state)),
        entries=mine,
        elsewhere=tuple(each for each in found if each not in mine),
        passed_at=_modified(_passes(state)),
    )


@contextmanager
def one_pass(state: StatePaths) -> Iterator[bool]:
    """Be the only pass that a scheduler has begun: gives whether this is so. One that is late is not piled upon."""
    path = _passes(state)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        os.utime(path)
        yield True


def _passes(state: StatePaths) -> Path:
    return state.schedules / "run-due.lock"


def _modified(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
