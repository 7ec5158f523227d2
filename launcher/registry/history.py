"""The log of a name: who made which version the champion, when and why. It is the truth about stages.

One entry says the whole of a change (a promotion retires the champion before), so that one exclusive write decides it.
Each entry names the sha256 of the one before: the log is one line, and cannot be altered in the middle unseen.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

from launcher.registry.entry import CROWNING, Action, Entry, dump, key, parse
from launcher.registry.head import Head

__all__ = ["CROWNING", "Action", "Entry", "History", "Stage", "dump", "key"]


class Stage(StrEnum):
    """Where a version stands."""

    CHALLENGER = "challenger"
    CHAMPION = "champion"
    RETIRED = "retired"
    PRUNED = "pruned"


class History:
    """The entries of a name, read in order, and what follows from them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: list[Entry] = []
        self.champions: list[int] = []
        """Those that a rollback would return to, the present one last."""
        self.pruned: set[int] = set()
        self.crowned: set[int] = set()
        """Those that ever were the champion."""
        self.documents: dict[int, str] = {}
        """sha256 of their documents, as first said: versions never change."""
        self.end = Head()
        self._retired: set[int] = set()

    @property
    def sequence(self) -> int:
        """Of the last entry; 0 before the first."""
        return len(self.entries)

    @property
    def champion(self) -> int | None:
        """The version that is one now."""
        return self.champions[-1] if self.champions else None

    @property
    def previous(self) -> int | None:
        """The champion that a rollback returns to."""
        return next((number for number in reversed(self.champions[:-1]) if number not in self.pruned), None)

    def stage(self, number: int) -> Stage:
        """Where a version stands."""
        if number == self.champion:
            return Stage.CHAMPION
        if number in self.pruned:
            return Stage.PRUNED
        return Stage.RETIRED if number in self._retired else Stage.CHALLENGER

    def sha256(self, sequence: int) -> str:
        """Of an entry that is there."""
        return self.end.sha256 if sequence == self.sequence else self.entries[sequence].previous

    def about(self, number: int) -> list[Entry]:
        """The entries that speak of a version."""
        return [entry for entry in self.entries if number in entry.numbers]

    def take(self, data: bytes) -> Entry:
        """The next entry; raises `WeightsError` for one that does not follow from those before."""
        where = key(self.name, self.sequence + 1)
        entry = parse(data, where)
        self.end = self.end.take(entry, hashlib.sha256(data).hexdigest(), where)
        self._apply(entry)
        self.entries.append(entry)
        return entry

    def _apply(self, entry: Entry) -> None:
        if entry.action is Action.PRUNED:
            self.pruned.update(entry.numbers)
        elif entry.action is Action.RETIRED:
            self._retired.update(entry.numbers)
        elif entry.action in CROWNING:
            self._crown(entry.numbers[0], back=entry.action is Action.ROLLED_BACK)
            if entry.state is not None and entry.state.document:
                self.documents.setdefault(entry.numbers[0], entry.state.document)

    def _crown(self, number: int, *, back: bool) -> None:
        self._retired.update(self.champions[-1:])
        if back and number in self.champions:
            place = len(self.champions) - 1 - self.champions[::-1].index(number)
            del self.champions[place + 1 :]
        else:
            self.champions.append(number)
        self._retired.discard(number)
        self.crowned.add(number)
