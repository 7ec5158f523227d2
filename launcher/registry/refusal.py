"""Why a version is not promoted."""

from __future__ import annotations

from launcher.errors import ChampionMoved, WeightsError
from launcher.registry import spans, version
from launcher.registry.entry import CROWNING
from launcher.registry.head import Head
from launcher.registry.history import History
from launcher.registry.names import CHAMPION
from launcher.registry.version import Version


def require_kept(chosen: Version, head: Head) -> None:
    """Raises `WeightsError` for a pruned version."""
    if spans.holds(head.pruned, chosen.number):
        raise WeightsError(
            f"{chosen} was pruned: its pedigree is kept, its weights are not",
            hint=f"gpurun weights list {chosen.name} shows those that are",
        )


def require_same(chosen: Version, sha256: str, expected: str | None) -> None:
    """Raises `WeightsError` where its document is not the one that the log made the champion.

    Without `expected` the log says nothing of it, as before `gpurun history 3`.
    """
    if expected and sha256 != expected:
        where = version.key(chosen.name, chosen.number)
        raise WeightsError(
            f"{where} was replaced: the log says sha256 {expected}, found {sha256}",
            hint=f"bring {where} back from a copy of the store; "
            f"gpurun weights rollback {chosen.name} returns to the champion before",
        )


def moved(chosen: Version, expected: int | str | None, log: History) -> ChampionMoved:
    """The error of a promotion that was meant against another champion."""
    last = next((entry for entry in reversed(log.entries) if entry.action in CROWNING), None)
    told = f", {last.action} by {last.by} at {last.at}" if last else ""
    was = f"{chosen.name}@{expected}" if expected is not None else "no champion"
    is_now = f"{chosen.name}@{log.champion}" if log.champion is not None else "none"
    return ChampionMoved(
        f"{chosen} was not promoted: it was compared with {was}, and the champion is {is_now}{told}",
        hint=f"compare it again: gpurun weights diff {chosen.name}@{CHAMPION} {chosen}",
    )
