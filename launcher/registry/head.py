"""Where a log ends: all that the next entry has to follow from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from launcher.registry import spans
from launcher.registry.documents import broken
from launcher.registry.entry import CROWNING, Action, Entry, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The state after some entry; as it is made, that before the first."""

    sequence: int = 0
    """Of that entry."""
    sha256: str = ""
    """Of that entry's bytes."""
    champion: int | None = None
    """The version that is one then."""
    crowned: int = 0
    """The sequence of the entry that made it one; 0 where there is none."""
    pruned: spans.Spans = ()
    document: str = ""
    """sha256 of the document of the champion's version; empty where the log does not say it."""

    def state(self) -> State:
        """What an entry carries of it."""
        return State(crowned=self.crowned, pruned=self.pruned, document=self.document)

    def after(self, action: Action, numbers: tuple[int, ...], document: str = "") -> Head:
        """What would hold after another entry, whose bytes nobody has yet; `document` of a version that it crowns."""
        crowning = action in CROWNING
        return Head(
            sequence=self.sequence + 1,
            champion=numbers[0] if crowning else self.champion,
            crowned=self.sequence + 1 if crowning else self.crowned,
            pruned=spans.joined(self.pruned, numbers) if action is Action.PRUNED else self.pruned,
            document=document if crowning else self.document,
        )

    def take(self, entry: Entry, sha256: str, where: str) -> Head:
        """The head after the next entry; raises `WeightsError` for one that does not follow."""
        if entry.sequence != self.sequence + 1:
            raise broken(where, f"it says that it is entry {entry.sequence}")
        if entry.previous != self.sha256:
            raise broken(where, "it does not follow from the entry before, one of them was altered")
        then = self.after(entry.action, entry.numbers, entry.state.document if entry.state else "")
        if entry.before != self.champion or entry.champion != then.champion:
            raise broken(where, "its champion does not follow from the entry before")
        if self._robs(entry):
            raise broken(where, f"it would leave the champion {entry.champion} without its objects or its place")
        if entry.state is not None and entry.state != then.state():
            raise broken(where, "its state does not follow from the entry before")
        return replace(then, sha256=sha256)

    def _robs(self, entry: Entry) -> bool:
        if entry.action in CROWNING:
            return spans.holds(self.pruned, entry.numbers[0])
        return entry.action is not Action.REFUSED and entry.champion in entry.numbers


def at(entry: Entry, sha256: str) -> Head | None:
    """The head after an entry, by its own word; `None` where it carries no state."""
    if entry.state is None:
        return None
    return Head(
        sequence=entry.sequence,
        sha256=sha256,
        champion=entry.champion,
        crowned=entry.state.crowned,
        pruned=entry.state.pruned,
        document=entry.state.document,
    )
