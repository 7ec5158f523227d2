"""Answers worth keeping: fetched once, then read from the cache until they are too old."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from launcher.errors import GpurunError, ProvisionError

if TYPE_CHECKING:
    from collections.abc import Callable

ANY_AGE = timedelta.max


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
    if datetime.now(UTC) - fetched_at > max_age and not isinstance(cache, KeptOnly):
        return None
    try:
        return Answer(value=json.loads(text), fetched_at=fetched_at, source="cache")
    except ValueError:
        return None  # written by another version, or cut short: fetch anew


def through(cache: OfferCache, key: str, max_age: timedelta, fetch: Callable[[], Any]) -> Answer:
    """What the cache has under `key`, or else what `fetch` gives, which is then kept.

    Where nothing answers, what the cache has counts, whatever its age; without it, the error is raised.
    """
    found = kept(cache, key, max_age)
    if found is not None:
        return found
    if isinstance(cache, KeptOnly):
        raise ProvisionError("nothing is kept of earlier answers", hint="check the network, then repeat")
    try:
        value = fetch()
    except GpurunError as error:
        old = kept(cache, key, ANY_AGE) if unanswered(error) else None
        if old is None:
            raise
        return old
    cache.put(key, json.dumps(value, separators=(",", ":")))
    return Answer(value=value, fetched_at=datetime.now(UTC), source="live")


def unanswered(error: GpurunError) -> bool:
    """Whether AWS said nothing of the matter: no way there, busy, or ill."""
    return type(error) is ProvisionError


class KeptOnly:
    """A cache that is all there is: whatever is in it counts, and nothing is fetched into it."""

    def __init__(self, cache: OfferCache) -> None:
        """Over the cache that others fill."""
        self._cache = cache

    def get(self, key: str) -> tuple[str, datetime] | None:
        """The text under `key` and when it was fetched."""
        return self._cache.get(key)

    def put(self, key: str, text: str) -> None:
        """Nothing is fetched, so nothing comes here."""
