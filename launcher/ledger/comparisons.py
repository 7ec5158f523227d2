"""Comparisons: what was asked for and of which runs, and what came of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from launcher.domain import RunId
from launcher.errors import LedgerError, SpecError
from launcher.ledger.records import time_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.ledger.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRecord:
    """One row; `request` and `result` are texts that `launcher.compare` writes and reads."""

    comparison_id: str
    created_at: datetime
    title: str
    request: str
    run_ids: tuple[RunId, ...]
    result: str | None = None
    """`None`: nobody has put its runs together yet."""


class Comparisons:
    """The ledger's comparisons; every method raises `LedgerError` where the file cannot be read or written."""

    def __init__(self, database: Database) -> None:
        """Over a ledger's own table."""
        self._database = database

    def create(self, record: ComparisonRecord) -> None:
        """Enter a new one, before any of its runs is launched."""
        row = (
            record.comparison_id,
            time_text(record.created_at),
            record.title,
            record.request,
            json.dumps(record.run_ids),
            record.result,
        )
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO comparisons (comparison_id, created_at, title, request, run_ids, result)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )

    def tell(self, comparison_id: str, result: str) -> None:
        """Keep what came of it, in the place of what was known before; raises `LedgerError` where it is not there."""
        with self._database.write() as connection:
            sql = "UPDATE comparisons SET result = ? WHERE comparison_id = ?"
            if not connection.execute(sql, (result, comparison_id)).rowcount:
                message = f"comparison {comparison_id} is not in the ledger"
                raise LedgerError(message, hint="gpurun compare-cpu-gpu --list")

    def list(self) -> tuple[ComparisonRecord, ...]:
        """All of them, newest first."""
        rows = self._database.read("SELECT * FROM comparisons ORDER BY created_at DESC, rowid DESC")
        return tuple(_record(row) for row in rows)

    def resolve(self, text: str) -> ComparisonRecord:
        """The one that a user means: an id, the beginning of one, or `last`; raises `SpecError`."""
        found = self.list()
        if not found:
            raise SpecError("there is no comparison yet", hint="make one: gpurun compare-cpu-gpu deck-mlp --sandbox")
        if text == "last":
            return found[0]
        meant = [each for each in found if each.comparison_id == text] or [
            each for each in found if text and each.comparison_id.startswith(text)
        ]
        if len(meant) == 1:
            return meant[0]
        raise _unclear(text, [each.comparison_id for each in meant], [each.comparison_id for each in found])


def _unclear(text: str, meant: Sequence[str], known: Sequence[str]) -> SpecError:
    if meant:
        return SpecError(f"{len(meant)} comparisons begin with {text!r}", hint=f"one of {', '.join(meant[:5])}")
    return SpecError(f"there is no comparison {text!r}", hint=f"the last are {', '.join(known[:3])}; --list shows all")


def _record(row: dict[str, Any]) -> ComparisonRecord:
    return ComparisonRecord(
        comparison_id=row["comparison_id"],
        created_at=datetime.fromisoformat(row["created_at"]),
        title=row["title"],
        request=row["request"],
        run_ids=tuple(RunId(each) for each in json.loads(row["run_ids"])),
        result=row["result"],
    )
