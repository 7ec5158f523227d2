"""The ledger: what was done, what is about to be done, and with which token, written before it is done."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, Unpack

from launcher.domain import TRANSITIONS, RunId, RunStatus, Segment
from launcher.errors import LedgerError
from launcher.ledger.cache import OfferCache
from launcher.ledger.comparisons import Comparisons
from launcher.ledger.database import Database
from launcher.ledger.naming import choose, unknown_run
from launcher.ledger.records import (
    RUN_CHANGES,
    RUN_COLUMNS,
    SEGMENT_COLUMNS,
    CostRow,
    EventRecord,
    ResourceRecord,
    RunChanges,
    RunRecord,
    event_from_row,
    resource_from_row,
    run_from_row,
    segment_from_row,
    time_text,
    to_column,
)
from launcher.ledger.schedules import Schedules
from launcher.ledger.ticks import Ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_INSERT_RUN = f"INSERT INTO runs ({', '.join(RUN_COLUMNS)}) VALUES ({', '.join('?' * len(RUN_COLUMNS))})"  # noqa: S608 - our own columns
_INSERT_SEGMENT = (
    f"INSERT INTO segments (run_id, {', '.join(SEGMENT_COLUMNS)}) VALUES (?, {', '.join('?' * len(SEGMENT_COLUMNS))})"  # noqa: S608 - our own columns
    " ON CONFLICT (run_id, number) DO NOTHING"
)
_FINAL = tuple(status.value for status in RunStatus if status.final)


class Ledger:
    """A journal shared by any number of processes and threads; each call is one short transaction.

    Every method raises `LedgerError` when the file cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        """Over an open file; `Ledger.open` is the way in."""
        self._database = database
        self.cache = OfferCache(database)
        self.comparisons = Comparisons(database)
        self.schedules = Schedules(database)
        self.ticks = Ticks(database)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file, making it and its folder (mode 0700) or bringing an older one up to date."""
        return cls(Database(path))

    def close(self) -> None:
        """Close the file; harmless when done twice."""
        self._database.close()

    def __enter__(self) -> Self:
        """For `with Ledger.open(path) as ledger`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def create(self, run: RunRecord) -> None:
        """Enter a new run; an id that is there already raises `LedgerError`."""
        row = [to_column(getattr(run, column)) for column in RUN_COLUMNS]
        with self._database.write() as connection:
            try:
                connection.execute(_INSERT_RUN, row)
            except sqlite3.IntegrityError as fault:
                raise LedgerError(f"run {run.run_id} is in the ledger already", hint="launch again") from fault

    def get(self, run_id: str) -> RunRecord:
        """The run with exactly this id; raises `SpecError` where there is none."""
        rows = self._database.read("SELECT * FROM runs WHERE run_id = ?", run_id)
        if not rows:
            raise unknown_run(run_id, self._names())
        return run_from_row(rows[0])

    def resolve(self, text: str | None = None) -> RunRecord:
        """The run that a user means: an id, its unique beginning, a name (the newest), or `last`.

        Raises `SpecError` with the nearest names.
        """
        return self.get(choose(text, self._names()))

    def list(self, active_only: bool = False, limit: int | None = None) -> tuple[RunRecord, ...]:
        """Runs, newest first."""
        rows = self._database.read(
            "SELECT * FROM runs WHERE NOT ? OR status NOT IN (?, ?, ?) ORDER BY created_at DESC, rowid DESC LIMIT ?",
            active_only,
            *_FINAL,
            -1 if limit is None else limit,
        )
        return tuple(run_from_row(row) for row in rows)

    def update(self, run_id: str, **changes: Unpack[RunChanges]) -> None:
        """Change columns of a run; an unknown column raises `ValueError`."""
        with self._database.write() as connection:
            _require(_status(connection, run_id), run_id)
            _set(connection, run_id, changes)

    def advance(self, run_id: str, status: RunStatus, **changes: Unpack[RunChanges]) -> None:
        """Move a run on, columns with it, and enter the event `status` where it moved.

        A final status sets `ended_at`. To stay is allowed; what `TRANSITIONS` forbids raises `LedgerError`.
        """
        now = datetime.now(UTC)
        with self._database.write() as connection:
            before = _require(_status(connection, run_id), run_id)
            _check_transition(run_id, before, status)
            columns: dict[str, object] = {"ended_at": now} if status.final and before != status else {}
            _set(connection, run_id, columns | dict(changes), status=status)
            if before != status:
                _add_event(connection, run_id, "status", {"from": before.value, "to": status.value}, now)

    def claim(self, run_id: str, pid: int, started: str, *, alive: Callable[[int | None, str | None], bool]) -> bool:
        """Take the run for the launcher that is process `pid`, begun at `started`; `False` where another has it.

        A launcher that `alive` says is dead has nothing; a run that is ours already stays ours. `alive` is asked
        while all other writers wait: it must be quick.
        """
        with self._database.write() as connection:
            _require(_status(connection, run_id), run_id)
            sql = "SELECT launcher_pid, launcher_started FROM runs WHERE run_id = ?"
            row = connection.execute(sql, (run_id,)).fetchone()
            holder = (row["launcher_pid"], row["launcher_started"])
            if holder != (pid, started) and alive(*holder):
                return False
            _set(connection, run_id, {"launcher_pid": pid, "launcher_started": started, "detached": False})
            return True

    def release(self, run_id: str, pid: int) -> None:
        """Let the run go, so that another launcher may claim it; one that is not process `pid`'s is left alone."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE runs SET launcher_pid = NULL, launcher_started = NULL, updated_at = ?"
                " WHERE run_id = ? AND launcher_pid = ?",
                (time_text(datetime.now(UTC)), run_id, pid),
            )

    def event(self, run_id: str, kind: str, data: Mapping[str, object] | None = None) -> int:
        """Enter a step of a run; gives its number, which grows over all runs."""
        with self._database.write() as connection:
            _require(_status(connection, run_id), run_id)
            return _add_event(connection, run_id, kind, data or {}, datetime.now(UTC))

    def events(self, run_id: str, after: int = 0) -> tuple[EventRecord, ...]:
        """A run's steps in order, from the one behind number `after`."""
        sql = "SELECT * FROM events WHERE run_id = ? AND event_id > ? ORDER BY event_id"
        return tuple(event_from_row(row) for row in self._database.read(sql, run_id, after))

    def intend(self, run_id: str, kind: str, token: str, region: str) -> int:
        """Note that a cloud resource is about to be asked for; gives its number, the same for the same four.

        A released one that is asked for again is open again, without an AWS id.
        """
        with self._database.write() as connection:
            _require(_status(connection, run_id), run_id)
            row = connection.execute(
                "INSERT INTO resources (run_id, kind, token, region, intended_at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (run_id, kind, token, region) DO UPDATE SET"
                " aws_id = iif(released_at IS NULL, aws_id, NULL),"
                " confirmed_at = iif(released_at IS NULL, confirmed_at, NULL), released_at = NULL"
                " RETURNING resource_id",
                (run_id, kind, token, region, time_text(datetime.now(UTC))),
            ).fetchone()
            return int(row["resource_id"])

    def confirm(self, resource_id: int, aws_id: str) -> None:
        """The resource exists, under this AWS id."""
        now = time_text(datetime.now(UTC))
        with self._database.write() as connection:
            sql = "UPDATE resources SET aws_id = ?, confirmed_at = ? WHERE resource_id = ?"
            connection.execute(sql, (aws_id, now, resource_id))

    def released(self, resource_id: int) -> None:
        """The resource is seen to be gone, or never came to be."""
        now = time_text(datetime.now(UTC))
        with self._database.write() as connection:
            sql = "UPDATE resources SET released_at = ? WHERE resource_id = ? AND released_at IS NULL"
            connection.execute(sql, (now, resource_id))

    def open_resources(self, run_id: str | None = None) -> tuple[ResourceRecord, ...]:
        """What may still exist in the cloud, oldest first, of one run or of all."""
        rows = self._database.read(
            "SELECT * FROM resources WHERE released_at IS NULL AND (? IS NULL OR run_id = ?) ORDER BY resource_id",
            run_id,
            run_id,
        )
        return tuple(resource_from_row(row) for row in rows)

    def begin_segment(self, run_id: str, segment: Segment) -> None:
        """Note a machine of the run; one that is noted already stays as it is."""
        row = [to_column(getattr(segment, column)) for column in SEGMENT_COLUMNS]
        with self._database.write() as connection:
            _require(_status(connection, run_id), run_id)
            connection.execute(_INSERT_SEGMENT, (run_id, *row))

    def end_segment(self, run_id: str, number: int, ended_by: str = "") -> None:
        """Note that a machine was seen to be gone, and why; the first word on it counts."""
        now = time_text(datetime.now(UTC))
        with self._database.write() as connection:
            sql = "UPDATE segments SET ended_at = ?, ended_by = ? WHERE run_id = ? AND number = ? AND ended_at IS NULL"
            connection.execute(sql, (now, ended_by, run_id, number))

    def segments(self, run_id: str) -> tuple[Segment, ...]:
        """A run's machines, in order."""
        rows = self._database.read("SELECT * FROM segments WHERE run_id = ? ORDER BY number", run_id)
        return tuple(segment_from_row(row) for row in rows)

    def _names(self) -> tuple[tuple[RunId, str], ...]:
        rows = self._database.read("SELECT run_id, name FROM runs ORDER BY created_at DESC, rowid DESC")
        return tuple((row["run_id"], row["name"]) for row in rows)

    def costs(self, since: datetime) -> tuple[CostRow, ...]:
        """The runs created since then, oldest first, each with its machines."""
        runs = self._database.read(
            "SELECT * FROM runs WHERE created_at >= ? ORDER BY created_at, rowid", time_text(since)
        )
        machines = self._database.read(
            "SELECT segments.* FROM segments JOIN runs USING (run_id) WHERE created_at >= ? ORDER BY run_id, number",
            time_text(since),
        )
        found: dict[str, list[Segment]] = {}
        for row in machines:
            found.setdefault(row["run_id"], []).append(segment_from_row(row))
        return tuple(CostRow(run=run_from_row(row), segments=tuple(found.get(row["run_id"], ()))) for row in runs)


def _status(connection: sqlite3.Connection, run_id: str) -> RunStatus | None:
    row = connection.execute("SELECT status FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return RunStatus(row["status"]) if row else None


def _require(status: RunStatus | None, run_id: str) -> RunStatus:
    if status is None:
        raise LedgerError(f"run {run_id} is not in the ledger", hint="list them with `gpurun status --all`")
    return status


def _check_transition(run_id: str, before: RunStatus, after: RunStatus) -> None:
    if after != before and after not in TRANSITIONS[before]:
        allowed = ", ".join(sorted(TRANSITIONS[before])) or "nothing, it has ended"
        raise LedgerError(
            f"run {run_id} is {before} and cannot become {after}; what may follow: {allowed}",
            hint=f"see where it stands with `gpurun status {run_id}`",
        )


def _set(
    connection: sqlite3.Connection,
    run_id: str,
    changes: Mapping[str, Any],
    *,
    status: RunStatus | None = None,
) -> None:
    unknown = changes.keys() - RUN_CHANGES
    if unknown:
        raise ValueError(f"runs have no such columns to change: {', '.join(sorted(unknown))}")
    columns = {"updated_at": datetime.now(UTC), **changes, **({"status": status} if status else {})}
    assignments = ", ".join(f"{column} = ?" for column in columns)
    values = [to_column(value) for value in columns.values()]
    connection.execute(f"UPDATE runs SET {assignments} WHERE run_id = ?", (*values, run_id))  # noqa: S608 - checked columns


def _add_event(connection: sqlite3.Connection, run_id: str, kind: str, data: Mapping[str, object], at: datetime) -> int:
    row = (run_id, time_text(at), kind, json.dumps(dict(data), default=str))
    cursor = connection.execute("INSERT INTO events (run_id, at, kind, data) VALUES (?, ?, ?, ?)", row)
    return int(cursor.lastrowid or 0)
