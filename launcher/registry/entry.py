"""One line of a name's log, as it is kept: what was done, and what holds after it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from launcher.registry import documents, names, spans
from launcher.registry.documents import broken

FORMAT = "gpurun history 3"
ANONYMOUS_FORMAT = "gpurun history 2"
"""Whose state does not say which document the champion's version has."""
STATELESS_FORMAT = "gpurun history 1"
"""Whose entries carry no state: the ones before them say it."""
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


CROWNING = frozenset({Action.PROMOTED, Action.ROLLED_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the next writer must know, beside the champion: who has it reads no more of the log."""

    crowned: int
    """The sequence of the entry that made the champion one; 0 where there is none."""
    pruned: spans.Spans
    """The versions whose objects are no longer kept."""
    document: str = ""
    """sha256 of the champion's version document when it was crowned; empty where nobody said it."""


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
    state: State | None = None
    """After it; `None` in an entry of the first format."""
    details: dict[str, Any] = field(default_factory=dict)
    """What a gate measured, and the like."""


def key(name: str, sequence: int) -> str:
    """Where an entry lies in the store."""
    return f"{name}/history/{sequence:0{DIGITS}d}.json"


def dump(entry: Entry) -> bytes:
    """An entry as it is kept."""
    values = asdict(entry)
    if entry.state is None:
        del values["state"]
    return documents.dump({"format": FORMAT if entry.state else STATELESS_FORMAT, **values})


def parse(data: bytes, where: str) -> Entry:
    """What `dump` wrote; raises `WeightsError` that names the document."""
    values = documents.load(data, where)
    form = values.pop("format", None)
    if form not in (FORMAT, ANONYMOUS_FORMAT, STATELESS_FORMAT):
        raise broken(where, f"its format is {str(form)[:40]!r}, and this gpurun reads those up to {FORMAT!r}")
    try:
        state = None if form == STATELESS_FORMAT else _state(values.pop("state"), anonymous=form == ANONYMOUS_FORMAT)
        action, numbers = Action(str(values.get("action"))), tuple(values.get("numbers", ()))
        entry = Entry(**{**values, "action": action, "numbers": numbers}, state=state)
    except (TypeError, ValueError, KeyError):
        raise broken(where, "a part of it is missing or unknown") from None
    if not _good(entry):
        raise broken(where, "a part of it is not what it must be")
    return entry


def _state(values: Any, *, anonymous: bool) -> State:
    expected = {"crowned", "pruned"} | (set() if anonymous else {"document"})
    if not isinstance(values, dict) or values.keys() != expected:
        raise ValueError("no state")
    crowned = values["crowned"]
    if crowned != 0 and not documents.positive(crowned):
        raise ValueError("no sequence")
    document = values.get("document", "")
    if document != "" and not names.is_sha256(document):
        raise ValueError("no sha256")
    return State(crowned=int(crowned), pruned=spans.parse(values["pruned"]), document=document)


def _good(entry: Entry) -> bool:
    numbers = [*entry.numbers, *(number for number in (entry.champion, entry.before) if number is not None)]
    texts = (entry.at, entry.by, entry.why, entry.token, entry.previous)
    return (
        documents.positive(entry.sequence)
        and all(map(documents.positive, numbers))
        and (len(entry.numbers) == 1 or (entry.action is Action.PRUNED and bool(entry.numbers)))
        and all(isinstance(text, str) for text in texts)
        and isinstance(entry.details, dict)
    )
