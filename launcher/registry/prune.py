"""Room made: old versions' objects go, their pedigree stays.

Which versions go is one entry of the log, so that no promotion can come between. Objects that no version names go by
way of the trash: set aside, then the versions read once more. A version that was written before that look brings them
back; one that is written after finds them missing and puts them there itself (`draft.add`). So nothing that is added
at the same time is lost, whatever the clocks say; leaving the young alone only spares the way there and back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from launcher.registry.history import Action, History, Stage
from launcher.registry.pause import pause
from launcher.registry.registry import Registry
from launcher.registry.store import Held

GRACE_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What went, or would go."""

    versions: tuple[tuple[str, int], ...]
    objects: int
    size_bytes: int
    waiting: int
    """Objects that nobody needs either, and that are left because they are young."""


def prune(
    registry: Registry, only: list[str], *, keep: int, grace_s: float = GRACE_S, rehearsal: bool = False
) -> Pruned:
    """Keep each name's champion, the `keep` champions before it and the `keep` newest versions; the rest goes.

    `only` names the models; objects are swept over all. Raises `WeightsError` where a version cannot be read, before
    anything is removed.
    """
    doomed: list[tuple[str, int]] = []
    for name in only:
        doomed += [(name, number) for number in _versions(registry, name, keep, rehearsal=rehearsal)]
    limit_s = time.time() - grace_s
    unneeded = _unreferenced(registry, without=set(doomed))
    going = [held for held in unneeded if held.modified_s < limit_s]
    waiting = len(unneeded) - len(going)
    if not rehearsal:
        going = [held for held in going if _remove(registry, held)]
        _empty_trash(registry, grace_s)
        registry.store.tidy(max(grace_s, GRACE_S))
    size_bytes = sum(held.size_bytes for held in going)
    return Pruned(versions=tuple(doomed), objects=len(going), size_bytes=size_bytes, waiting=waiting)


def goners(log: History, numbers: list[int], keep: int) -> list[int]:
    """The versions that are not kept: neither champion, nor one that a rollback may need, nor among the newest."""
    lines = [number for number in log.champions if number not in log.pruned]
    kept = {*lines[-(keep + 1) :]}
    present = [number for number in numbers if log.stage(number) is not Stage.PRUNED]
    kept.update(present[-keep:] if keep else [])
    return [number for number in present if number not in kept]


def _versions(registry: Registry, name: str, keep: int, *, rehearsal: bool) -> list[int]:
    for attempt in range(1_000_000):
        began_s = time.monotonic()
        log = registry.trusted(name)
        going = goners(log, registry.numbers(name), keep)
        if rehearsal or not going:
            return going
        if registry.append(name, registry.entry(log.end, Action.PRUNED, tuple(going), why=f"prune --keep {keep}")):
            return going
        pause(attempt, began_s)
    raise AssertionError


def _referenced(registry: Registry, without: set[tuple[str, int]]) -> set[str]:
    found: set[str] = set()
    for name in registry.names():
        gone = registry.history(name).pruned
        for version in registry.versions(name):
            if version.number not in gone and (name, version.number) not in without:
                found.update(file.sha256 for file in version.contents)
    return found


def _unreferenced(registry: Registry, *, without: set[tuple[str, int]]) -> list[Held]:
    # The objects before the versions: what comes in between is then no candidate.
    objects = registry.store.objects()
    needed = _referenced(registry, without)
    return [held for held in objects if held.key not in needed]


def _remove(registry: Registry, held: Held) -> bool:
    registry.store.set_aside(held.key)
    if held.key in _referenced(registry, set()):
        registry.store.bring_back(held.key)
        return False
    registry.store.forget(held.key)
    return True


def _empty_trash(registry: Registry, grace_s: float) -> None:
    """What a prune that was killed left between the two."""
    left = [held for held in registry.store.trash() if held.modified_s < time.time() - grace_s]
    if not left:
        return
    needed = _referenced(registry, set())
    for held in left:
        if held.key in needed:
            registry.store.bring_back(held.key)
        else:
            registry.store.forget(held.key)
