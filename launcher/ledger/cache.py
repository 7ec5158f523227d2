"""Texts fetched from afar, such as price lists, with the time they were fetched."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from launcher.ledger.records import time_text

if TYPE_CHECKING:
    from launcher.ledger.database import Database


class OfferCache:
    """A key to its latest text; the reader judges the age."""

    def __init__(self, database: Database) -> None:
        """Over a ledger's own table."""
        self._database = database

    def get(self, key: str) -> tuple[str, datetime] | None:
        """The text and when it was put."""
        rows = self._database.read("SELECT text, fetched_at FROM offer_cache WHERE key = ?", key)
        return (rows[0]["text"], datetime.fromisoformat(rows[0]["fetched_at"])) if rows else None

    def put(self, key: str, text: str) -> None:
        """Keep the text, fetched now, in the place of an older one."""
        row = (key, text, time_text(datetime.now(UTC)))
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO offer_cache (key, text, fetched_at) VALUES (?, ?, ?)", row)
