"""What the gate is told of a version and of a run: read from the registry and from what came home."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from launcher.ledger import TickStatus
from launcher.registry import reading
from launcher.schedule.gate import ArrayKind, Candidate, schema_of

if TYPE_CHECKING:
    from launcher.ledger import Ledger
    from launcher.registry.history import Entry, History
    from launcher.registry.registry import Registry
    from launcher.registry.version import Version
    from launcher.weights.arrays import Array

EVALUATION_NAME = "evaluation.json"
MAX_EVALUATION_BYTES = 1 << 20
KEPT_NAMES = 50
"""Of one side of an evaluation, in the history."""
DETAILS = "gate"


def candidate(registry: Registry, version: Version) -> Candidate:
    """A version as the gate looks at it, its arrays verified; raises `WeightsError`."""
    files = [file for file in version.files if reading.is_weights(file)]
    return Candidate(
        name=str(version),
        arrays={
            file.name: {name: _kind(array) for name, array in reading.arrays(registry.store, version, file).items()}
            for file in files
        },
        sha256=frozenset(file.sha256 for file in files),
        schema=schema_of(version.about.metrics),
    )


def evaluation(results: Path, version: Version) -> object:
    """What the run says of challenger and champion: evaluation.json, else `evaluated` in its result.json.

    `None` where it says nothing; what cannot be read is no evaluation.
    """
    path = results / EVALUATION_NAME
    if not path.is_file():
        return version.about.metrics.get("evaluated")
    try:
        with path.open("rb") as file:
            return json.loads(file.read(MAX_EVALUATION_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}


def details(found: object, *, champion: int | None, good: bool) -> dict[str, Any]:
    """What the history keeps of a verdict."""
    told = found if isinstance(found, dict) else {}
    kept = {side: _numbers(told.get(side)) for side in ("challenger", "champion")}
    rows = told.get("rows_sha256")
    measured = {**kept, "rows_sha256": rows[:100] if isinstance(rows, str) else ""}
    return {DETAILS: {"compared_with": champion, "good": good, "evaluation": measured}}


def verdict_of(log: History, number: int) -> Entry | None:
    """What a gate wrote of a version, if one has."""
    return next((entry for entry in reversed(log.about(number)) if DETAILS in entry.details), None)


def good_in_a_row(book: Ledger, schedule: str, log: History) -> int:
    """How many retrains of a schedule were good one after the other until now, against the present champion."""
    count = 0
    for tick in book.ticks.list(schedule):
        if tick.open or tick.status in {TickStatus.SKIPPED, TickStatus.MISSED, TickStatus.CANCELLED}:
            continue
        name, _, number = tick.version.rpartition("@")
        entry = verdict_of(log, int(number)) if name == log.name and number.isdecimal() else None
        told = entry.details[DETAILS] if entry else {}
        if not isinstance(told, dict) or not told.get("good") or told.get("compared_with") != log.champion:
            break
        count += 1
    return count


def _kind(array: Array) -> ArrayKind:
    numbers = array.dtype.kind in "fc" or array.dtype.kind == "V"
    finite = bool(np.isfinite(array.astype("f4") if array.dtype.kind == "V" else array).all()) if numbers else True
    return ArrayKind(shape=array.shape, dtype=array.dtype.name, finite=finite)


def _numbers(side: object) -> dict[str, Any]:
    if not isinstance(side, dict):
        return {}
    plain = {str(name)[:100]: value for name, value in side.items() if isinstance(value, int | float)}
    named = {name: str(side[name])[:300] for name in ("sha256", "problem") if name in side}
    return {**dict(list(plain.items())[:KEPT_NAMES]), **named}
