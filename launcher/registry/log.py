"""One name's log in its store. Entries never change: each is read once, and only what is new is asked for.

Readers read it all. Who writes needs no more than where it ends, which the newest entries say: a promotion costs the
same after ten entries and after ten thousand.
"""

from __future__ import annotations

import hashlib

from launcher.errors import WeightsError
from launcher.registry import entry as entries
from launcher.registry import head as heads
from launcher.registry.entry import Entry, dump, key
from launcher.registry.head import Head
from launcher.registry.history import History
from launcher.registry.store import Store


class Log:
    """What is known of it so far."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._history = History(name)
        self._head = Head()

    def history(self) -> History:
        """All of it, every entry held against the one before; raises `WeightsError` where it is not one line."""
        known = self._history
        if known.sequence:
            # Mostly there is nothing new, which one look for a file, or the cheapest request to S3, tells.
            data = self._store.read(key(self._name, known.sequence + 1))
            if data is None:
                return known
            known.take(data)
        for data in self._read(known.sequence, self._last(known.sequence)):
            known.take(data)
        return known

    def head(self) -> Head:
        """Where it ends: by the last entry's word, held against the entry before and against what was known.

        Raises `WeightsError` for a hole, and for entries that do not follow.
        """
        known = max(self._head, self._history.end, key=lambda each: each.sequence)
        last = self._last(known.sequence)
        texts = self._read(max(known.sequence, last - 2), last)
        if last - known.sequence > len(texts):
            before = heads.at(entries.parse(texts[0], key(self._name, last - 1)), _sha256(texts.pop(0)))
            if before is None or before.sequence != last - 1:
                return self.history().end  # written before entries told their state, or strange: all of it tells
            known = before
        for data in texts:
            known = self._taken(known, data)
        self._head = known
        return known

    def crowning_sha256(self, head: Head) -> str:
        """Of the entry that made the champion of a head one; raises `WeightsError` where it is missing."""
        if head.crowned == head.sequence:
            return head.sha256
        if self._history.sequence >= head.crowned:
            return self._history.sha256(head.crowned)
        return _sha256(self._read(head.crowned - 1, head.crowned)[0])

    def append(self, entry: Entry) -> bool:
        """Write an entry where the log ended when it was made; `False` where another came first."""
        data = dump(entry)
        if not self._store.create(key(self._name, entry.sequence), data):
            return False
        if self._history.sequence + 1 == entry.sequence:
            self._history.take(data)
        if self._head.sequence + 1 == entry.sequence:
            self._head = self._taken(self._head, data)
        return True

    def _taken(self, known: Head, data: bytes) -> Head:
        where = key(self._name, known.sequence + 1)
        return known.take(entries.parse(data, where), _sha256(data), where)

    def _last(self, known: int) -> int:
        """The sequence of the last entry."""
        after = key(self._name, known) if known else ""
        found = sorted(held.key for held in self._store.keys(f"{self._name}/history/", after=after))
        for sequence, each in enumerate(found, start=known + 1):
            if each != key(self._name, sequence):
                raise self._hole(sequence)
        return known + len(found)

    def _read(self, known: int, last: int) -> list[bytes]:
        wanted = range(known + 1, last + 1)
        found = self._store.read_many([key(self._name, sequence) for sequence in wanted])
        for sequence, data in zip(wanted, found, strict=True):
            if data is None:
                raise self._hole(sequence)
        return [data for data in found if data is not None]

    def _hole(self, sequence: int) -> WeightsError:
        return WeightsError(
            f"{self._store.uri}/{key(self._name, sequence)} is missing: the log of {self._name} has a hole",
            hint="bring it back from a copy of the store; versions and objects are as they were",
        )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
