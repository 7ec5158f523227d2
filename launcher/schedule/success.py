"""After a run that succeeded: its weights become a challenger, and the champion where the gate says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.errors import ChampionMoved
from launcher.ledger import account_from_text
from launcher.registry.enrol import Wish, enrol
from launcher.registry.history import Action
from launcher.registry.place import open_store
from launcher.registry.registry import Registry
from launcher.schedule import carry, facts, gate, wish

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.aws.client import Aws
    from launcher.domain import RunId
    from launcher.ledger import Ledger, ScheduleRecord
    from launcher.paths import StatePaths
    from launcher.registry.version import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of a run's weights."""

    version: str
    """NAME@NUMBER."""
    told: str
    event: str
    """`promoted`, `refused`, or `kept` where nobody was asked."""


def on_success(
    schedule: ScheduleRecord, run_id: RunId, book: Ledger, state: StatePaths, cloud: Callable[[], Aws]
) -> Kept:
    """Register the run's weights under the run's name, and promote them where the schedule's gate is passed.

    The first version of a name is made champion, for want of another. Without a gate every later one waits as a
    challenger. The same run again gives the same version and the same answer. Raises `WeightsError` where there are
    no weights that can be trusted.
    """
    record = book.get(run_id)
    registry = Registry(open_store(schedule.store, account=account_from_text(record.account)))
    parent = carry.sent(book, run_id)
    version = enrol(registry, record, book, state, wish=Wish(parent=parent), cloud=cloud)
    log = registry.history(version.name)
    before = facts.verdict_of(log, version.number)
    if before is not None:
        crowned = before.action is Action.PROMOTED
        told = f"promoted: {before.why}" if crowned else f"challenger of {version.name}@{before.champion}: {before.why}"
        return Kept(version=str(version), told=told, event="promoted" if crowned else "refused")
    if log.champion == version.number:
        return Kept(version=str(version), told="champion", event="promoted")
    asked = wish.of(schedule)
    if asked is None:
        return _ungated(registry, version)
    good_before = facts.good_in_a_row(book, schedule.name, log)
    return _gated(registry, version, parent, asked, facts.evaluation(Path(record.results_dir), version), good_before)


def _ungated(registry: Registry, version: Version) -> Kept:
    champion = registry.history(version.name).champion
    if champion is not None:
        return Kept(version=str(version), told=f"challenger of {version.name}@{champion}", event="kept")
    try:
        registry.promote(version.name, version.number, expected_champion=None, why="the first of its name")
    except ChampionMoved:
        return Kept(version=str(version), told="challenger", event="kept")
    return Kept(version=str(version), told="champion: the first of its name", event="promoted")


def _gated(
    registry: Registry, version: Version, compared_with: int | None, asked: gate.Wish, found: object, good_before: int
) -> Kept:
    """Judge it against the champion that went along with its run, and no other."""
    present = registry.history(version.name).champion
    if present != compared_with:
        of = f"{version.name}@{compared_with}" if compared_with is not None else "no champion"
        why = f"it was compared with {of}, and the champion is {version.name}@{present} by now"
        return _refused(registry, version, why, facts.details(found, champion=compared_with, good=False))
    champion = registry.resolve(f"{version.name}@{compared_with}") if compared_with is not None else None
    verdict = gate.judge(
        found,
        asked,
        facts.candidate(registry, version),
        facts.candidate(registry, champion) if champion else None,
        good_before=good_before,
    )
    details = facts.details(found, champion=compared_with, good=verdict.good)
    if not verdict.promote:
        return _refused(registry, version, verdict.text, details)
    try:
        registry.promote(
            version.name, version.number, expected_champion=compared_with, why=verdict.text, details=details
        )
    except ChampionMoved as moved:
        return _refused(registry, version, moved.message, facts.details(found, champion=compared_with, good=False))
    before = f" instead of {champion}" if champion else ""
    return Kept(version=str(version), told=f"promoted{before}: {verdict.text}", event="promoted")


def _refused(registry: Registry, version: Version, why: str, details: dict[str, Any]) -> Kept:
    """It stays a challenger, and the history says why."""
    entry = registry.note(version.name, version.number, Action.REFUSED, why=why, details=details)
    of = f" of {version.name}@{entry.champion}" if entry.champion is not None else ""
    return Kept(version=str(version), told=f"challenger{of}: {why}", event="refused")
