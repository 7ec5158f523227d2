"""The phases of a run, timed: each is an event in the ledger before it begins, and a row of the receipt after."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

from launcher.domain import PhaseTime, RunId
from launcher.ledger import EventRecord, Ledger
from launcher.ports import Reporter

ORDER = ("plan", "provision", "boot", "connect", "sync", "start", "first log", "run", "fetch", "terminate")


class Phases:
    """Marks where a run is, for the ledger, the receipt and whoever watches."""

    def __init__(self, ledger: Ledger, run_id: RunId, reporter: Reporter) -> None:
        self._ledger = ledger
        self._run_id = run_id
        self._reporter = reporter
        self.now = ""
        """The phase entered last, by this launcher."""

    def enter(self, name: str, detail: str = "", *, at: datetime | None = None) -> None:
        """Begin a phase; the one before it ends."""
        self.now = name
        stamp = (at or datetime.now(UTC)).isoformat()
        self._ledger.event(self._run_id, "phase", {"name": name, "at": stamp})
        if name != "end":
            self._reporter.phase(name, detail)

    def times(self) -> tuple[PhaseTime, ...]:
        """Seconds spent in each phase, added up over resumptions."""
        return durations(self._ledger.events(self._run_id))


def durations(events: Sequence[EventRecord]) -> tuple[PhaseTime, ...]:
    """Seconds for each phase from the ledger's `phase` events, in the order in which a run goes through them."""
    marks = [
        (event.data["name"], datetime.fromisoformat(event.data["at"])) for event in events if event.kind == "phase"
    ]
    spent: dict[str, float] = {}
    for (name, begun), (_, ended) in pairwise(marks):
        spent[name] = spent.get(name, 0.0) + (ended - begun).total_seconds()
    return tuple(PhaseTime(name=name, seconds=spent[name]) for name in ORDER if name in spent)
