"""Schedules: what is to be trained again, and when."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from launcher.errors import SpecError
from launcher.ledger.records import time_text

if TYPE_CHECKING:
    from launcher.ledger.database import Database

OPEN = "('taken', 'running')"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """One row; every path is absolute, and an empty text means that there is none."""

    name: str
    created_at: datetime
    spec: str
    folder: str
    """The current folder of its launches, below which results lie."""
    cron: str = ""
    zone: str = "UTC"
    data: str = ""
    """What is watched: a path or an s3:// address."""
    data_sha256: str = ""
    """Of what it held when it was last trained on, or when the schedule was made."""
    data_seen: str = ""
    """What it looked like then: names, sizes and times, which are quicker to read than all of it."""
    data_changing: str = ""
    """What it looked like at the last look, where that is another: it may still be on its way."""
    data_looked_at: datetime
    metric: str = ""
    better: str = ""
    min_gain: str = ""
    warm_start: str = ""
    missed: str
    """`skip` or `run-once`."""
    store: str
    """Of its weights: a folder or an s3:// address."""
    place: str
    """Where it runs, as `launch --on` has it."""
    options: str = "{}"
    """JSON of what else its launches are told: sandbox, profile."""
    paused: bool = False
    considered_at: datetime
    """Fire times until then have been dealt with."""


_COLUMNS = tuple(each.name for each in fields(ScheduleRecord))
_STATE = {"name", "created_at", "data_sha256", "data_seen", "data_changing", "data_looked_at", "considered_at"}
"""What a schedule has come to, not what is asked of it."""
_TIMES = {"created_at", "data_looked_at", "considered_at"}


class Schedules:
    """The ledger's schedules; every method raises `LedgerError` where the file cannot be read or written."""

    def __init__(self, database: Database) -> None:
        """Over a ledger's own table."""
        self._database = database

    def add(self, record: ScheduleRecord) -> None:
        """Enter a new one; raises `SpecError` where the name is taken."""
        marks = ", ".join("?" for _ in _COLUMNS)
        row = [_column(getattr(record, column)) for column in _COLUMNS]
        with self._database.write() as connection:
            try:
                sql = f"INSERT INTO schedules ({', '.join(_COLUMNS)}) VALUES ({marks})"  # noqa: S608 - our own columns
                connection.execute(sql, row)
            except sqlite3.IntegrityError as fault:
                raise SpecError(
                    f"there is a schedule {record.name} already",
                    hint=f"another name, or first: gpurun schedule remove {record.name}",
                ) from fault

    def list(self) -> tuple[ScheduleRecord, ...]:
        """All of them, by name."""
        return tuple(_record(row) for row in self._database.read("SELECT * FROM schedules ORDER BY name"))

    def get(self, name: str) -> ScheduleRecord:
        """The one of this name; raises `SpecError`."""
        rows = self._database.read("SELECT * FROM schedules WHERE name = ?", name)
        if rows:
            return _record(rows[0])
        from difflib import get_close_matches  # noqa: PLC0415 - needed for a mistake alone, and slow to import

        known = [each.name for each in self.list()]
        near = get_close_matches(name, known, n=3) or known[:3]
        hint = f"there are: {', '.join(near)}; gpurun schedule list" if near else "gpurun schedule add NAME SPEC"
        raise SpecError(f"there is no schedule {name!r:.60}", hint=hint)

    def renew(self, record: ScheduleRecord) -> None:
        """Take what is asked for anew; what was considered and seen until now stays. Raises `SpecError`."""
        self.get(record.name)
        columns = [column for column in _COLUMNS if column not in _STATE]
        marks = ", ".join(f"{column} = ?" for column in columns)
        row = [_column(getattr(record, column)) for column in columns]
        with self._database.write() as connection:
            connection.execute(f"UPDATE schedules SET {marks} WHERE name = ?", (*row, record.name))  # noqa: S608 - our own columns

    def pause(self, name: str, *, paused: bool, now: datetime) -> None:
        """Stop or go on; what was due meanwhile was not missed. Raises `SpecError` for a name that is not there."""
        self.get(name)
        with self._database.write() as connection:
            sql = "UPDATE schedules SET paused = ?, considered_at = ? WHERE name = ? AND paused <> ?"
            connection.execute(sql, (int(paused), time_text(now), name, int(paused)))

    def remove(self, name: str) -> None:
        """Forget it and its history; raises `SpecError` while a run of it goes on."""
        self.get(name)
        with self._database.write() as connection:
            sql = f"SELECT run_id FROM schedule_ticks WHERE schedule = ? AND status IN {OPEN}"  # noqa: S608 - a constant
            held = connection.execute(sql, (name,)).fetchone()
            if held is None:
                connection.execute("DELETE FROM schedules WHERE name = ?", (name,))
        if held is not None:
            run_id = held["run_id"]
            end = f"gpurun stop {run_id}" if run_id else "gpurun schedule run-due"
            raise SpecError(f"{name} is being run at present: {run_id or 'its launch begins'}", hint=f"{end} first")

    def considered(self, name: str, until: datetime) -> None:
        """Note that fire times until then have been dealt with."""
        with self._database.write() as connection:
            connection.execute("UPDATE schedules SET considered_at = ? WHERE name = ?", (time_text(until), name))

    def looked(self, name: str, now: datetime, *, seen: str, changing: str) -> None:
        """Note what its data looked like."""
        with self._database.write() as connection:
            sql = "UPDATE schedules SET data_looked_at = ?, data_seen = ?, data_changing = ? WHERE name = ?"
            connection.execute(sql, (time_text(now), seen, changing, name))


def _column(value: Any) -> Any:
    if isinstance(value, datetime):
        return time_text(value)
    return int(value) if isinstance(value, bool) else value


def _record(row: dict[str, Any]) -> ScheduleRecord:
    values = {column: row[column] for column in _COLUMNS}
    times = {column: datetime.fromisoformat(values[column]).astimezone(UTC) for column in _TIMES}
    return ScheduleRecord(**values | times | {"paused": bool(values["paused"])})
