"""The registry: versions are added, promoted and rolled back; what the log says is so, everything else is derived."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from launcher.errors import ChampionMoved, WeightsError
from launcher.registry import draft, history, names, reading, version
from launcher.registry.documents import now
from launcher.registry.history import Action, Entry, History, Stage
from launcher.registry.names import CHAMPION, Address
from launcher.registry.store import Store
from launcher.registry.version import About, Version
from launcher.registry.who import who

ANY: Final = "any"
"""For `expected_champion`: whatever the champion is."""
SHORTEST_PAUSE_S = 0.002
LONGEST_PAUSE_S = 5.0
LONGEST_POINTING = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a promotion or rollback came to."""

    version: Version
    before: int | None
    """The champion until then."""
    entry: Entry | None
    """The log's line; `None` where the version was the champion already."""


class Registry:
    """Weights in one store. Not for several threads at once; any number of processes is fine."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._histories: dict[str, History] = {}
        self._versions: dict[tuple[str, int], Version] = {}
        self._prepared = False

    def names(self) -> list[str]:
        """The models that have versions."""
        return self.store.models()

    def numbers(self, name: str) -> list[int]:
        """The numbers of a name's versions, the pruned ones included."""
        prefix = f"{names.check_model(name)}/versions/"
        found = [names.parse_number(held.key[len(prefix) :].removesuffix(".json")) for held in self.store.keys(prefix)]
        return sorted(number for number in found if number is not None)

    def version(self, name: str, number: int) -> Version:
        """One version; raises `WeightsError` where there is none."""
        return self.versions(name, [number])[0]

    def versions(self, name: str, numbers: list[int] | None = None) -> list[Version]:
        """Those of these numbers, or all; raises `WeightsError` for one that is missing or damaged."""
        wanted = self.numbers(name) if numbers is None else numbers
        # Versions never change: each is read once.
        unknown = [number for number in wanted if (name, number) not in self._versions]
        texts = self.store.read_many([version.key(names.check_model(name), number) for number in unknown])
        for number, data in zip(unknown, texts, strict=True):
            if data is None:
                raise self._missing(name, number)
            self._versions[name, number] = version.parse(data, name, number)
        return [self._versions[name, number] for number in wanted]

    def history(self, name: str) -> History:
        """The log as it is now: only what is new is read. Raises `WeightsError` where it is not one line."""
        known = self._histories.get(names.check_model(name))
        if known is None:
            known = self._first_look(name)
            self._histories[name] = known
        while (data := self.store.read(history.key(name, known.sequence + 1))) is not None:
            known.take(data)
        return known

    def resolve(self, address: Address | str) -> Version:
        """The version that is meant; raises `WeightsError` where there is none."""
        wanted = names.parse_address(address) if isinstance(address, str) else address
        if isinstance(wanted.which, int):
            return self.version(wanted.name, wanted.which)
        numbers = self.numbers(wanted.name)
        if not numbers:
            raise self._unknown(wanted.name)
        if wanted.which != CHAMPION:
            gone = self.history(wanted.name).pruned
            return self.version(wanted.name, max((n for n in numbers if n not in gone), default=numbers[-1]))
        champion = self.history(wanted.name).champion
        if champion is None:
            raise WeightsError(
                f"{wanted.name} has no champion yet: {len(numbers)} challengers",
                hint=f"gpurun weights promote {wanted.name}@{numbers[-1]}",
            )
        return self.version(wanted.name, champion)

    def add(self, name: str, files: Mapping[str, Path], about: About | None = None, *, diff: bytes = b"") -> Version:
        """Keep files as a new challenger. The same files of the same run again give the version that they have.

        Weights files must open as names and arrays. Raises `WeightsError`.
        """
        self._prepare()
        return draft.add(self, names.check_model(name), files, about or About(), diff)

    def promote(
        self,
        name: str,
        number: int,
        *,
        expected_champion: int | str | None = ANY,
        why: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> Change:
        """Make a version the champion, in one step that all agree on; one that is it already stays so.

        With `expected_champion` (`None`: none yet) it happens only against that one, else `ChampionMoved` is raised
        and nothing changed. Raises `WeightsError` for a version that is missing, pruned or damaged.
        """
        chosen = self.version(name, number)
        return self._crown(chosen, Action.PROMOTED, expected_champion, why, details)

    def rollback(
        self, name: str, to: int | None = None, *, expected_champion: int | str | None = ANY, why: str = ""
    ) -> Change:
        """Return to the champion before, or to an earlier version; raises as `promote` does, or for none before."""
        log = self.history(name)
        if not log.entries and not self.numbers(name):
            raise self._unknown(name)
        target = to if to is not None else log.previous
        if target is None:
            raise WeightsError(
                f"{name} has no champion before {name}@{log.champion}" if log.champion else f"{name} has no champion",
                hint=f"gpurun weights list {name}, then: gpurun weights promote {name}@NUMBER",
            )
        expected = log.champion if expected_champion == ANY and to is None else expected_champion
        return self._crown(self.version(name, target), Action.ROLLED_BACK, expected, why, None)

    def note(
        self, name: str, number: int, action: Action, *, why: str, details: Mapping[str, Any] | None = None
    ) -> Entry:
        """Write that a gate refused a version, or that it is retired; the champion cannot be. Raises `WeightsError`."""
        chosen = self.version(name, number)
        self._prepare()
        for attempt in range(1_000_000):
            began_s = time.monotonic()
            log = self.history(name)
            if log.champion == number and action is Action.RETIRED:
                raise WeightsError(f"{chosen} is the champion", hint=f"gpurun weights rollback {name} first")
            entry = self.entry(log, action, (number,), why=why, details=details)
            if self.append(name, entry):
                return entry
            pause(attempt, began_s)
        raise AssertionError

    def check(self, chosen: Version) -> None:
        """See that a version is whole, every byte; raises `WeightsError`."""
        if chosen.number in self.history(chosen.name).pruned:
            raise WeightsError(
                f"{chosen} was pruned: its pedigree is kept, its weights are not",
                hint=f"gpurun weights list {chosen.name} shows those that are",
            )
        reading.check(self.store, chosen)

    def repoint(self, name: str) -> int | None:
        """Lead the stable address to the champion of the log; gives the champion.

        Whoever points last looks at the log after that: it ends at the newest, whatever order the writers came in.
        """
        pointed = self.store.pointed(name)
        for _ in range(LONGEST_POINTING):
            champion = self.history(name).champion
            if champion is None or pointed == champion:
                return champion
            self.store.point(self.version(name, champion))
            pointed = champion
        raise AssertionError

    def stage(self, chosen: Version) -> Stage:
        """Where a version stands now."""
        return self.history(chosen.name).stage(chosen.number)

    def entry(
        self,
        log: History,
        action: Action,
        numbers: tuple[int, ...],
        *,
        why: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> Entry:
        """What the log's next line would be."""
        crowned = action in history.CROWNING
        return Entry(
            sequence=log.sequence + 1,
            action=action,
            numbers=numbers,
            champion=numbers[0] if crowned else log.champion,
            before=log.champion,
            at=now(),
            by=who(),
            why=why,
            token=secrets.token_hex(8),
            previous=log.head,
            details=dict(details or {}),
        )

    def append(self, name: str, entry: Entry) -> bool:
        """Write an entry where the log ended when it was made; `False` where another came first."""
        data = history.dump(entry)
        if not self.store.create(history.key(name, entry.sequence), data):
            return False
        known = self._histories.get(name)
        if known is not None and known.sequence + 1 == entry.sequence:
            known.take(data)
        return True

    def _crown(
        self,
        chosen: Version,
        action: Action,
        expected: int | str | None,
        why: str,
        details: Mapping[str, Any] | None,
    ) -> Change:
        self.check(chosen)
        self._prepare()
        for attempt in range(1_000_000):
            began_s = time.monotonic()
            log = self.history(chosen.name)
            if log.champion == chosen.number:
                self.repoint(chosen.name)
                return Change(version=chosen, before=log.champion, entry=None)
            if expected not in (ANY, log.champion):
                raise _moved(chosen, expected, log)
            if chosen.number in log.pruned:
                self.check(chosen)
            entry = self.entry(log, action, (chosen.number,), why=why, details=details)
            if self.append(chosen.name, entry):
                self.repoint(chosen.name)
                return Change(version=chosen, before=entry.before, entry=entry)
            pause(attempt, began_s)
        raise AssertionError

    def _first_look(self, name: str) -> History:
        known = History(name)
        prefix = f"{name}/history/"
        listed = sorted(held.key for held in self.store.keys(prefix))
        for place, (key, data) in enumerate(zip(listed, self.store.read_many(listed), strict=True), start=1):
            if key != history.key(name, place) or data is None:
                raise WeightsError(
                    f"{self.store.uri}/{history.key(name, place)} is missing: the log of {name} has a hole",
                    hint="bring it back from a copy of the store; versions and objects are as they were",
                )
            known.take(data)
        return known

    def _prepare(self) -> None:
        if not self._prepared:
            self.store.prepare()
            self._prepared = True

    def _missing(self, name: str, number: int) -> WeightsError:
        numbers = self.numbers(name)
        if not numbers:
            return self._unknown(name)
        return WeightsError(
            f"there is no {name}@{number}", hint=f"gpurun weights list {name}: the last is {numbers[-1]}"
        )

    def _unknown(self, name: str) -> WeightsError:
        known = ", ".join(self.names()[:5])
        there = f"it has {known}" if known else "it is empty; gpurun weights add RUN, or --store PLACE for another"
        return WeightsError(f"{self.store.uri} has no weights called {name}", hint=there)


def pause(attempt: int, began_s: float) -> None:
    """After a lost race: a random wait, so that of many the next one to try is alone.

    It grows from the time that the attempt took (since `began_s` on the monotonic clock): where a crowd makes a store
    slow, short waits would keep it so.
    """
    took_s = max(SHORTEST_PAUSE_S, time.monotonic() - began_s)
    time.sleep(random.uniform(0, min(LONGEST_PAUSE_S, took_s * 2 ** min(attempt, 10))))  # noqa: S311 - dice, no secret


def _moved(chosen: Version, expected: int | str | None, log: History) -> ChampionMoved:
    last = next((entry for entry in reversed(log.entries) if entry.action in history.CROWNING), None)
    told = f", {last.action} by {last.by} at {last.at}" if last else ""
    was = f"{chosen.name}@{expected}" if expected is not None else "no champion"
    is_now = f"{chosen.name}@{log.champion}" if log.champion is not None else "none"
    return ChampionMoved(
        f"{chosen} was not promoted: it was compared with {was}, and the champion is {is_now}{told}",
        hint=f"compare it again: gpurun weights diff {chosen.name}@{CHAMPION} {chosen}",
    )
