"""The registry: versions are added, promoted and rolled back; what the log says is so, everything else is derived."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from launcher.errors import WeightsError
from launcher.registry import draft, names, reading, version
from launcher.registry.documents import now
from launcher.registry.entry import Action, Entry, dump
from launcher.registry.head import Head
from launcher.registry.history import History, Stage
from launcher.registry.log import Log
from launcher.registry.names import CHAMPION, Address
from launcher.registry.pause import pause
from launcher.registry.refusal import moved, require_kept, require_same
from launcher.registry.store import Store
from launcher.registry.version import About, Version
from launcher.registry.who import who

ANY: Final = "any"
"""For `expected_champion`: whatever the champion is."""
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
        self._logs: dict[str, Log] = {}
        self._versions: dict[tuple[str, int], tuple[Version, str]] = {}
        """With the sha256 of its document."""
        self._prepared = False

    def names(self) -> list[str]:
        """The models that have versions."""
        return self.store.models()

    def numbers(self, name: str) -> list[int]:
        """The numbers of a name's versions, the pruned ones included."""
        prefix = f"{names.check_model(name)}/versions/"
        found = [names.parse_number(held.key[len(prefix) :].removesuffix(".json")) for held in self.store.keys(prefix)]
        return sorted(number for number in found if number is not None)

    def require_known(self, name: str) -> list[int]:
        """The same; raises `WeightsError` where there are none."""
        numbers = self.numbers(name)
        if not numbers:
            raise self._unknown(name)
        return numbers

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
            self._versions[name, number] = version.parse(data, name, number), hashlib.sha256(data).hexdigest()
        return [self._versions[name, number][0] for number in wanted]

    def history(self, name: str) -> History:
        """The log as it is now: only what is new is read. Raises `WeightsError` where it is not one line."""
        return self._log(name).history()

    def trusted(self, name: str) -> History:
        """The log, which must have all that the stable address followed; raises `WeightsError`."""
        witness = self.store.witness(name)  # first: the log only grows
        log = self.history(name)
        if witness is not None and witness.crowned > log.sequence:
            # A network's file system may say for a while that there is no next entry; a listing it makes anew.
            self._logs.pop(name)
            log = self.history(name)
        if witness is not None:
            with self._forgetting(name):
                witness.check(log)
        return log

    def require_crowned(self, chosen: Version) -> None:
        """See that a version is the one that the log once made the champion; raises `WeightsError`."""
        self._require_same(chosen, self.history(chosen.name).documents.get(chosen.number))

    def head(self, name: str) -> Head:
        """Where the log ends now: what a writer needs, whatever the log's length. Raises `WeightsError`."""
        return self._log(name).head()

    def resolve(self, address: Address | str) -> Version:
        """The version that is meant; raises `WeightsError` where there is none, or not the one that was promoted."""
        chosen = self._resolve(names.parse_address(address) if isinstance(address, str) else address)
        self.require_crowned(chosen)
        return chosen

    def _resolve(self, wanted: Address) -> Version:
        if isinstance(wanted.which, int):
            return self.version(wanted.name, wanted.which)
        numbers = self.require_known(wanted.name)
        if wanted.which != CHAMPION:
            gone = self.history(wanted.name).pruned
            return self.version(wanted.name, max((n for n in numbers if n not in gone), default=numbers[-1]))
        champion = self.trusted(wanted.name).champion
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
        log = self.trusted(name)
        if not log.entries and not self.numbers(name):
            raise self._unknown(name)
        target = to if to is not None else log.previous
        if target is None:
            raise WeightsError(
                f"{name} has no champion before {name}@{log.champion}" if log.champion else f"{name} has no champion",
                hint=f"gpurun weights list {name}, then: gpurun weights promote {name}@NUMBER",
            )
        expected = log.champion if expected_champion == ANY and to is None else expected_champion
        chosen = self.version(name, target)
        self.require_crowned(chosen)
        return self._crown(chosen, Action.ROLLED_BACK, expected, why, None)

    def note(
        self, name: str, number: int, action: Action, *, why: str, details: Mapping[str, Any] | None = None
    ) -> Entry:
        """Write that a gate refused a version, or that it is retired; the champion cannot be. Raises `WeightsError`."""
        chosen = self.version(name, number)
        self._prepare()
        for attempt in range(1_000_000):
            began_s = time.monotonic()
            head = self._ground(name)
            if head.champion == number and action is Action.RETIRED:
                raise WeightsError(f"{chosen} is the champion", hint=f"gpurun weights rollback {name} first")
            entry = self.entry(head, action, (number,), why=why, details=details)
            if self.append(name, entry):
                return entry
            pause(attempt, began_s)
        raise AssertionError

    def check(self, chosen: Version) -> None:
        """See that a version is whole, every byte; raises `WeightsError`."""
        require_kept(chosen, self.head(chosen.name))
        reading.check(self.store, chosen)

    def repoint(self, name: str) -> int | None:
        """Lead the stable address to the champion of the log, whoever else does so; gives the champion."""
        for _ in range(LONGEST_POINTING):
            head = self._ground(name)
            if head.champion is None:
                return None
            chosen = self.version(name, head.champion)
            self._require_same(chosen, head.document)
            if self.store.point(chosen, head.crowned, self._log(name).crowning_sha256(head)):
                return head.champion
        raise AssertionError

    def stage(self, chosen: Version) -> Stage:
        """Where a version stands now."""
        return self.trusted(chosen.name).stage(chosen.number)

    def entry(
        self,
        head: Head,
        action: Action,
        numbers: tuple[int, ...],
        *,
        why: str = "",
        details: Mapping[str, Any] | None = None,
        document: str = "",
    ) -> Entry:
        """What the log's next line would be; `document` is the sha256 of that of the version that it crowns."""
        then = head.after(action, numbers, document)
        return Entry(
            sequence=then.sequence,
            action=action,
            numbers=numbers,
            champion=then.champion,
            before=head.champion,
            at=now(),
            by=who(),
            why=why,
            token=secrets.token_hex(8),
            previous=head.sha256,
            state=then.state(),
            details=dict(details or {}),
        )

    def append(self, name: str, entry: Entry) -> bool:
        """Write an entry where the log ended when it was made; `False` where another came first."""
        return self._log(name).append(entry)

    def _crown(
        self,
        chosen: Version,
        action: Action,
        expected: int | str | None,
        why: str,
        details: Mapping[str, Any] | None,
    ) -> Change:
        self._look_over(chosen)
        self._prepare()
        for attempt in range(1_000_000):
            began_s = time.monotonic()
            head = self._ground(chosen.name)
            if head.champion == chosen.number:
                self.repoint(chosen.name)
                return Change(version=chosen, before=head.champion, entry=None)
            if expected not in (ANY, head.champion):
                raise moved(chosen, expected, self.history(chosen.name))
            require_kept(chosen, head)
            document = self._versions[chosen.name, chosen.number][1]
            entry = self.entry(head, action, (chosen.number,), why=why, details=details, document=document)
            if self.append(chosen.name, entry):
                if not self.store.point(chosen, entry.sequence, hashlib.sha256(dump(entry)).hexdigest()):
                    self.repoint(chosen.name)
                return Change(version=chosen, before=entry.before, entry=entry)
            pause(attempt, began_s)
        raise AssertionError

    def _look_over(self, chosen: Version) -> None:
        """See that it is whole; where the log ends is asked for no earlier than it is needed."""
        try:
            reading.check(self.store, chosen)
        except WeightsError:
            require_kept(chosen, self.head(chosen.name))
            raise

    def _ground(self, name: str) -> Head:
        """Where the log ends, for who is to go on from there: not where it was cut off."""
        witness = self.store.witness(name)  # first: the log only grows
        head = self.head(name)
        if witness is not None:
            with self._forgetting(name):
                witness.check_head(name, head)
                if not witness.crowned and witness.number not in (None, head.champion):
                    witness.check(self.history(name))  # it says no entry, as those of an earlier gpurun
        return head

    def _require_same(self, chosen: Version, expected: str | None) -> None:
        self.version(chosen.name, chosen.number)
        with self._forgetting(chosen.name):
            require_same(chosen, self._versions[chosen.name, chosen.number][1], expected)

    @contextmanager
    def _forgetting(self, name: str) -> Iterator[None]:
        """What was read is read again after damage: a service that lives on sees that it was mended."""
        try:
            yield
        except WeightsError:
            self._logs.pop(name, None)
            self._versions = {key: value for key, value in self._versions.items() if key[0] != name}
            raise

    def _log(self, name: str) -> Log:
        if name not in self._logs:
            self._logs[name] = Log(self.store, names.check_model(name))
        return self._logs[name]

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
