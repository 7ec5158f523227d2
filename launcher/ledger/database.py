"""The SQLite file under the ledger: opened, migrated, locked, and its faults told in plain words."""

from __future__ import annotations

import sqlite3
import stat
import time
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

from launcher.errors import LedgerError
from launcher.ledger.schema import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for the others; one transaction takes milliseconds."""


class Database:
    """One connection, usable from every thread of the process; raises `LedgerError` alone."""

    def __init__(self, path: Path) -> None:
        """Open or make the file, and bring its tables up to date."""
        self._path = path
        self._lock = RLock()
        self._turn = object()
        with explained(path):
            _private_folder(path.parent)
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the file; harmless when done twice."""
        with self._lock:
            self._connection.close()

    def read(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """All rows of one query, as {column: value}."""
        with self._lock, explained(self._path):
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is the only writer from its first statement: all of it lasts, or none.

        Nothing that waits for a network may happen inside, nor another `write`. A signal's exception may strike
        anywhere: what was not committed is rolled back, at the next `write` at the latest.
        """
        with self._lock, explained(self._path):
            turn = object()
            try:
                # Where the exception struck just outside this function, the last transaction is still open.
                self._roll_back()
                self._turn = turn
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # Such a one is told of its end late, when its traceback goes: by then the turn may be another's.
                if self._turn is turn:
                    self._roll_back()
                raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _prepare(self) -> None:
        self._connection.row_factory = _as_dict
        self._connection.execute("PRAGMA foreign_keys = ON")
        # An intent must outlast a power cut, and a run writes some tens of rows: FULL costs it milliseconds.
        self._connection.execute("PRAGMA synchronous = FULL")
        version = self._version()
        if version > len(MIGRATIONS):
            raise LedgerError(
                f"{self._path} is of a newer gpurun: version {version}, known here {len(MIGRATIONS)}",
                hint="upgrade with `pip install --upgrade gpurun-launcher`, or set another XDG_STATE_HOME",
            )
        if version < len(MIGRATIONS):
            self._migrate()

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()["user_version"])

    def _migrate(self) -> None:
        self._path.chmod(0o600)
        self._switch_to_wal()
        with self.write() as connection:
            # Another process may have migrated while this one waited for the lock.
            for number in range(self._version() + 1, len(MIGRATIONS) + 1):
                for statement in MIGRATIONS[number - 1].split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")

    def _switch_to_wal(self) -> None:
        # Where several first openers meet, SQLite now and then answers "locked" without waiting its timeout out:
        # 4 of 3200 openings, eight at a time, with SQLite 3.40.
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as fault:
                if fault.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's and the file system's complaints into `LedgerError`."""
    try:
        yield
    except sqlite3.Error as fault:
        raise _error(path, fault) from fault
    except OSError as fault:
        raise LedgerError(
            f"cannot use the state folder {path.parent}: {fault.strerror or fault}", hint=_folder_hint(path)
        ) from fault


def _error(path: Path, fault: sqlite3.Error) -> LedgerError:
    code = getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return LedgerError(
            f"{path} is damaged ({fault})",
            hint=f"move it away with `mv {path} {path}.damaged`; `gpurun gc` finds every machine without it",
        )
    if code == sqlite3.SQLITE_BUSY:
        return LedgerError(
            f"{path} stayed locked for {BUSY_TIMEOUT_S:.0f} s by another process",
            hint=f"see who holds it with `fuser {path}`",
        )
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        return LedgerError(f"cannot write {path} ({fault})", hint=_folder_hint(path))
    if code == sqlite3.SQLITE_FULL:
        return LedgerError(f"the disk that holds {path} is full", hint=f"make room: `df -h {path.parent}`")
    return LedgerError(f"{path}: {fault}", hint=f"check it with `sqlite3 {path} 'pragma integrity_check'`")


def _folder_hint(path: Path) -> str:
    return f"make it yours with `chmod u+rwx {path.parent}`, or set XDG_STATE_HOME to one that is"


def _private_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = folder.stat().st_mode
    # A sticky folder such as /tmp is shared on purpose.
    if mode & 0o077 and not mode & stat.S_ISVTX:
        folder.chmod(0o700)


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}
