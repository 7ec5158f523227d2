"""Answers worth keeping: fetched once, then read from the cache until they are too old."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class OfferCache(Protocol):
    """What keeps the answers; the ledger does. Called from several threads."""

    def get(self, key: str) -> tuple[str, datetime] | None:
        """The text kept under `key` and when it was fetched (with a time zone)."""

    def put(self, key: str, text: str) -> None:
        """Keep `text` under `key`, fetched now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A JSON value and where it comes from."""

    value: Any
    fetched_at: datetime
    source: str
    """`live` or `cache`."""


def kept(cache: OfferCache, key: str, max_age: timedelta) -> Answer | None:
    """What the cache has under `key`, if it is young enough and readable."""
    found = cache.get(key)
    if found is None:
        return None
    text, fetched_at = found
    if datetime.now(UTC) - fetched_at > max_age:
        return None
    try:
        return Answer(value=json.loads(text), fetched_at=fetched_at, source="cache")
    except ValueError:
        return None  # written by another version, or cut short: fetch anew


def through(cache: OfferCache, key: str, max_age: timedelta, fetch: Callable[[], Any]) -> Answer:
    """What the cache has under `key`, or else what `fetch` gives, which is then kept."""
    found = kept(cache, key, max_age)
    if found is not None:
        return found
    value = fetch()
    cache.put(key, json.dumps(value, separators=(",", ":")))
    return Answer(value=value, fetched_at=datetime.now(UTC), source="live")
