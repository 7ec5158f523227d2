"""The log of a name: who made which version the champion, when and why. It is the truth about stages.

One entry says the whole of a change (a promotion retires the champion before), so that one exclusive write decides it.
Each entry names the sha256 of the one before: the log is one line, and cannot be altered in the middle unseen.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from launcher.registry import documents
from launcher.registry.documents import broken

FORMAT = "gpurun history 1"
DIGITS = 8


class Action(StrEnum):
    """What an entry says of its version."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    """An earlier champion is the champion again."""
    REFUSED = "refused"
    """A gate looked at it and left it a challenger."""
    RETIRED = "retired"
    """It will not be the champion."""
    PRUNED = "pruned"
    """Its objects are no longer kept; what is known of it is."""


class Stage(StrEnum):
    """Where a version stands."""

    CHALLENGER = "challenger"
    CHAMPION = "champion"
    RETIRED = "retired"
    PRUNED = "pruned"


CROWNING = frozenset({Action.PROMOTED, Action.ROLLED_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the log."""

    sequence: int
    action: Action
    numbers: tuple[int, ...]
    """The versions that it is about; one, but for `pruned`."""
    champion: int | None
    """After it."""
    before: int | None
    """The champion before it."""
    at: str
    by: str
    why: str
    token: str
    """Random: tells whose write it was when the answer to it was lost."""
    previous: str
    """sha256 of the entry before; empty in the first."""
    details: dict[str, Any] = field(default_factory=dict)
    """What a gate measured, and the like."""


def key(name: str, sequence: int) -> str:
    """Where an entry lies in the store."""
    return f"{name}/history/{sequence:0{DIGITS}d}.json"


def dump(entry: Entry) -> bytes:
    """An entry as it is kept."""
    return documents.dump({"format": FORMAT, **asdict(entry)})


class History:
    """The entries of a name, read in order, and what follows from them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: list[Entry] = []
        self.champions: list[int] = []
        """Those that a rollback would return to, the present one last."""
        self.pruned: set[int] = set()
        self._retired: set[int] = set()
        self._head = ""

    @property
    def sequence(self) -> int:
        """Of the last entry; 0 before the first."""
        return len(self.entries)

    @property
    def head(self) -> str:
        """sha256 of the last entry."""
        return self._head

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

    def about(self, number: int) -> list[Entry]:
        """The entries that speak of a version."""
        return [entry for entry in self.entries if number in entry.numbers]

    def take(self, data: bytes) -> Entry:
        """The next entry; raises `WeightsError` for one that does not follow from those before."""
        entry = _parse(data, key(self.name, self.sequence + 1))
        self._check(entry)
        self._apply(entry)
        self.entries.append(entry)
        self._head = hashlib.sha256(data).hexdigest()
        return entry

    def _check(self, entry: Entry) -> None:
        where = key(self.name, self.sequence + 1)
        if entry.sequence != self.sequence + 1:
            raise broken(where, f"it says that it is entry {entry.sequence}")
        if entry.previous != self._head:
            raise broken(where, "it does not follow from the entry before, one of them was altered")
        crowned = entry.numbers[0] if entry.action in CROWNING else self.champion
        if entry.before != self.champion or entry.champion != crowned:
            raise broken(where, "its champion does not follow from the entry before")
        gone = entry.champion in entry.numbers if entry.action not in CROWNING else entry.champion in self.pruned
        if gone and entry.action is not Action.REFUSED:
            raise broken(where, f"it would leave the champion {entry.champion} without its objects or its place")

    def _apply(self, entry: Entry) -> None:
        if entry.action is Action.PRUNED:
            self.pruned.update(entry.numbers)
        elif entry.action is Action.RETIRED:
            self._retired.update(entry.numbers)
        elif entry.action in CROWNING:
            self._crown(entry.numbers[0], back=entry.action is Action.ROLLED_BACK)

    def _crown(self, number: int, *, back: bool) -> None:
        self._retired.update(self.champions[-1:])
        if back and number in self.champions:
            place = len(self.champions) - 1 - self.champions[::-1].index(number)
            del self.champions[place + 1 :]
        else:
            self.champions.append(number)
        self._retired.discard(number)


def _parse(data: bytes, where: str) -> Entry:
    values = documents.load(data, where)
    if values.pop("format", None) != FORMAT:
        raise broken(where, f"its format is not {FORMAT!r}")
    try:
        entry = Entry(
            **{**values, "action": Action(str(values.get("action"))), "numbers": tuple(values.get("numbers", ()))}
        )
    except (TypeError, ValueError):
        raise broken(where, "a part of it is missing or unknown") from None
    numbers = [*entry.numbers, *(number for number in (entry.champion, entry.before) if number is not None)]
    texts = (entry.at, entry.by, entry.why, entry.token, entry.previous)
    good = (
        documents.positive(entry.sequence)
        and all(map(documents.positive, numbers))
        and (len(entry.numbers) == 1 or (entry.action is Action.PRUNED and entry.numbers))
        and all(isinstance(text, str) for text in texts)
        and isinstance(entry.details, dict)
    )
    if not good:
        raise broken(where, "a part of it is not what it must be")
    return entry
