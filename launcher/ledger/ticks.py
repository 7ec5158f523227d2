"""Ticks: every time that a schedule was due, who took it, and what came of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from launcher.domain import RunId
from launcher.ledger.records import time_text
from launcher.ledger.schedules import OPEN

if TYPE_CHECKING:
    from collections.abc import Iterable
    from sqlite3 import Connection

    from launcher.ledger.database import Database


class TickStatus(StrEnum):
    """How far a tick is."""

    TAKEN = "taken"
    """Somebody is about to launch it."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    """The run before was still under way."""
    MISSED = "missed"
    """Nobody was there to take it, and it is not made up for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One that is due."""

    schedule: str
    cause: str
    """`cron`, `data` or `now`."""
    due_at: datetime
    status: TickStatus = TickStatus.TAKEN
    reason: str = ""
    considered_at: datetime
    """Fire times until then are dealt with by this."""
    data: tuple[str, str] | None = None
    """(sha256, looks) of the data that is trained on, where a schedule watches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that a tick is in the hands of."""

    pid: int
    started: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TickRecord:
    """One row."""

    tick_id: int
    schedule: str
    cause: str
    due_at: datetime
    taken_at: datetime
    status: TickStatus
    reason: str
    run_id: RunId | None
    token: str
    """Lets one process alone begin with it."""
    owner: Owner | None
    attempts: int
    """How often a launcher was started for it."""
    retry_at: datetime
    """Before then nobody is sent after a run that lost its launcher."""
    ended_at: datetime | None
    version: str
    """NAME@NUMBER of the weights that came of it."""

    @property
    def open(self) -> bool:
        """Whether it is not over."""
        return self.status in {TickStatus.TAKEN, TickStatus.RUNNING}


class Ticks:
    """The ledger's ticks; every method raises `LedgerError` where the file cannot be read or written."""

    def __init__(self, database: Database) -> None:
        """Over a ledger's own table."""
        self._database = database

    def take(self, tick: Tick, owner: Owner, now: datetime) -> TickRecord | None:
        """Make a tick one's own, in one step; `None` where another has it, or the schedule is gone or paused.

        One that is due while the run before goes on is written down as skipped; new data waits for its end instead.
        """
        with self._database.write() as connection:
            paused = connection.execute("SELECT paused FROM schedules WHERE name = ?", (tick.schedule,)).fetchone()
            if paused is None or (paused["paused"] and tick.cause != "now"):
                return None
            busy = _busy(connection, tick.schedule)
            status, reason = tick.status, tick.reason
            if busy is not None and status is TickStatus.TAKEN:
                if tick.cause == "data":
                    return None
                status, reason = TickStatus.SKIPPED, f"still running {busy['run_id'] or '(its launch begins)'}"
            tick_id = _insert(connection, tick, status, reason, owner, now)
            sql = "UPDATE schedules SET considered_at = max(considered_at, ?) WHERE name = ?"
            connection.execute(sql, (time_text(tick.considered_at), tick.schedule))
            if tick_id is None:
                return None
            if tick.data is not None and status is TickStatus.TAKEN:
                sql = "UPDATE schedules SET data_sha256 = ?, data_seen = ?, data_changing = '' WHERE name = ?"
                connection.execute(sql, (*tick.data, tick.schedule))
        return self.get(tick_id)

    def get(self, tick_id: int) -> TickRecord:
        """One tick; raises `LookupError` where it is not there: its schedule was removed."""
        rows = self._database.read("SELECT * FROM schedule_ticks WHERE tick_id = ?", tick_id)
        if not rows:
            raise LookupError(f"tick {tick_id} is not in the ledger")
        return _record(rows[0])

    def list(self, schedule: str, limit: int = 1000) -> tuple[TickRecord, ...]:
        """A schedule's ticks, the newest first."""
        sql = "SELECT * FROM schedule_ticks WHERE schedule = ? ORDER BY tick_id DESC LIMIT ?"
        return tuple(_record(row) for row in self._database.read(sql, schedule, limit))

    def unfinished(self) -> tuple[TickRecord, ...]:
        """Those of all schedules that are not over."""
        sql = f"SELECT * FROM schedule_ticks WHERE status IN {OPEN} ORDER BY tick_id"  # noqa: S608 - a constant
        return tuple(_record(row) for row in self._database.read(sql))

    def hand(self, tick: TickRecord, owner: Owner) -> None:
        """Note the process that was started for it, unless that has made it its own already."""
        with self._database.write() as connection:
            sql = "UPDATE schedule_ticks SET owner_pid = ?, owner_started = ? WHERE tick_id = ? AND token = ?"
            connection.execute(sql, (owner.pid, owner.started, tick.tick_id, tick.token))

    def claim(self, tick_id: int, token: str, owner: Owner) -> bool:
        """Begin with a tick that one was given; says whether one still may."""
        with self._database.write() as connection:
            sql = (
                "UPDATE schedule_ticks SET status = 'running', token = '', owner_pid = ?, owner_started = ?"  # noqa: S608 - a constant
                f" WHERE tick_id = ? AND token = ? AND token <> '' AND status IN {OPEN}"
            )
            return bool(connection.execute(sql, (owner.pid, owner.started, tick_id, token)).rowcount)

    def take_over(self, tick: TickRecord, owner: Owner, retry_at: datetime) -> TickRecord | None:
        """Make one's own what a dead process left; `None` where another was quicker."""
        pid, started = (tick.owner.pid, tick.owner.started) if tick.owner else (None, None)
        with self._database.write() as connection:
            sql = (
                "UPDATE schedule_ticks SET token = ?, owner_pid = ?, owner_started = ?, attempts = attempts + 1,"  # noqa: S608 - a constant
                f" retry_at = ? WHERE tick_id = ? AND token = ? AND status IN {OPEN}"
                " AND owner_pid IS ? AND owner_started IS ?"
            )
            new = (secrets.token_hex(8), owner.pid, owner.started, time_text(retry_at))
            if not connection.execute(sql, (*new, tick.tick_id, tick.token, pid, started)).rowcount:
                return None
        return self.get(tick.tick_id)

    def launched(self, tick_id: int, run_id: str) -> None:
        """Note the run that was made for it."""
        with self._database.write() as connection:
            connection.execute("UPDATE schedule_ticks SET run_id = ? WHERE tick_id = ?", (run_id, tick_id))

    def wait(self, tick_id: int, reason: str) -> None:
        """Note why its run has to wait for another launcher."""
        with self._database.write() as connection:
            connection.execute("UPDATE schedule_ticks SET reason = ? WHERE tick_id = ?", (reason, tick_id))

    def end(self, tick: TickRecord, status: TickStatus, reason: str, now: datetime, *, version: str = "") -> bool:
        """Close it, if it is still in the same hands; says whether it was."""
        with self._database.write() as connection:
            sql = (
                "UPDATE schedule_ticks SET status = ?, reason = ?, ended_at = ?, version = ?, token = ''"  # noqa: S608 - a constant
                f" WHERE tick_id = ? AND token = ? AND status IN {OPEN}"
            )
            row = (status.value, reason, time_text(now), version, tick.tick_id, tick.token)
            return bool(connection.execute(sql, row).rowcount)

    def adopt(self, ticks: Iterable[TickRecord]) -> None:
        """Take over what another ledger of the same schedule has of ticks that are over; those known already stay."""
        columns = ("schedule", "cause", "due_at", "taken_at", "status", "reason", "run_id", "token", "attempts")
        names = (*columns, "retry_at", "ended_at", "version")
        marks = ", ".join("?" for _ in names)
        sql = f"INSERT OR IGNORE INTO schedule_ticks ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - our own columns
        with self._database.write() as connection:
            for tick in sorted(ticks, key=lambda each: each.tick_id):
                if not tick.open:
                    connection.execute(sql, [_text(getattr(tick, name)) for name in names])

    def run_of(self, owner: Owner) -> RunId | None:
        """The run that a process made, where it died before it could say so."""
        sql = "SELECT run_id FROM runs WHERE launcher_pid = ? AND launcher_started = ?"
        rows = self._database.read(sql, owner.pid, owner.started)
        return RunId(rows[0]["run_id"]) if rows else None


def _busy(connection: Connection, schedule: str) -> dict[str, Any] | None:
    sql = f"SELECT run_id FROM schedule_ticks WHERE schedule = ? AND status IN {OPEN}"  # noqa: S608 - a constant
    found: dict[str, Any] | None = connection.execute(sql, (schedule,)).fetchone()
    return found


def _insert(
    connection: Connection, tick: Tick, status: TickStatus, reason: str, owner: Owner, now: datetime
) -> int | None:
    """Write it; `None` where the same is there already."""
    live = status is TickStatus.TAKEN
    row = {
        "schedule": tick.schedule,
        "cause": tick.cause,
        "due_at": time_text(tick.due_at),
        "taken_at": time_text(now),
        "status": status.value,
        "reason": reason,
        "token": secrets.token_hex(8) if live else "",
        "owner_pid": owner.pid if live else None,
        "owner_started": owner.started if live else None,
        "attempts": 1 if live else 0,
        "retry_at": time_text(now),
        "ended_at": None if live else time_text(now),
        "version": "",
    }
    sql = f"INSERT OR IGNORE INTO schedule_ticks ({', '.join(row)}) VALUES ({', '.join('?' for _ in row)})"  # noqa: S608 - our own columns
    cursor = connection.execute(sql, [*row.values()])
    return int(cursor.lastrowid or 0) if cursor.rowcount else None


def _record(row: dict[str, Any]) -> TickRecord:
    owner = Owner(pid=row["owner_pid"], started=row["owner_started"]) if row["owner_pid"] is not None else None
    return TickRecord(
        tick_id=row["tick_id"],
        schedule=row["schedule"],
        cause=row["cause"],
        due_at=_time(row["due_at"]),
        taken_at=_time(row["taken_at"]),
        status=TickStatus(row["status"]),
        reason=row["reason"],
        run_id=RunId(row["run_id"]) if row["run_id"] else None,
        token=row["token"],
        owner=owner,
        attempts=row["attempts"],
        retry_at=_time(row["retry_at"]),
        ended_at=_time(row["ended_at"]) if row["ended_at"] else None,
        version=row["version"],
    )


def _text(value: Any) -> Any:
    return time_text(value) if isinstance(value, datetime) else value


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
