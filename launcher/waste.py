"""Machine time that no training came of: what replacing machines took, and what was trained and lost with one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from launcher.domain import PhaseTime, Segment
from launcher.ledger import EventRecord
from launcher.phases import ORDER

SETUP = frozenset({"provision", "boot", "connect", "sync", "start"})
TRAINING = "training"


def wasted(events: Sequence[EventRecord], segments: Sequence[Segment]) -> tuple[PhaseTime, ...]:
    """Seconds by phase, in the order of a run, and `training` last; nothing for a run that was never interrupted.

    From the events `phase`, `successor` {segment, phase, seconds} (a machine made ready while the one before it still
    trains: such seconds overlap with the run's own), `interrupted` {segment, stopped}, `job.started` {segment} and
    `checkpoint.saved` {at: seconds since the epoch}.
    """
    spent: dict[str, float] = {}
    for name, seconds in (*_again(events), *_beside(events)):
        spent[name] = spent.get(name, 0.0) + seconds
    lost_s = sum(_lost_s(events, segment) for segment in segments)
    names = [*ORDER, *sorted(spent.keys() - set(ORDER))]
    times = [PhaseTime(name=name, seconds=spent[name]) for name in names if name in spent]
    return (*times, *([PhaseTime(name=TRAINING, seconds=lost_s)] if lost_s else []))


def _again(events: Iterable[EventRecord]) -> Iterator[tuple[str, float]]:
    """The phases of setting a machine up that came after an interruption, one after the other."""
    replacing = False
    marks: list[tuple[str, datetime, bool]] = []
    for event in events:
        if event.kind == "interrupted":
            replacing = True
        elif event.kind == "phase":
            name = str(event.data["name"])
            replacing = replacing and name in SETUP
            marks.append((name, datetime.fromisoformat(event.data["at"]), replacing))
    for (name, begun, counts), (_, ended, _) in pairwise(marks):
        if counts:
            yield name, (ended - begun).total_seconds()


def _beside(events: Iterable[EventRecord]) -> Iterator[tuple[str, float]]:
    for event in events:
        if event.kind == "successor":
            yield str(event.data["phase"]), float(event.data["seconds"])


def _lost_s(events: Sequence[EventRecord], segment: Segment) -> float:
    """What was trained on a machine after the last checkpoint that came home; 0 where it is not known."""
    end = _end(events, segment)
    started = [event.at for event in events if event.kind == "job.started" and _of(event, segment)]
    if end is None or not started or started[-1] >= end[0]:
        return 0.0
    ended_at, stopped = end
    saved = [_saved_at(event) for event in events if event.kind == "checkpoint.saved"]
    here = [moment for moment in saved if started[-1] <= moment <= ended_at]
    if here and stopped:
        return 0.0
    return (ended_at - max(here, default=started[-1])).total_seconds()


def _end(events: Sequence[EventRecord], segment: Segment) -> tuple[datetime, bool] | None:
    """When a machine that the run did not end was given up, and whether its job had been stopped before that."""
    for event in events:
        if event.kind == "interrupted" and _of(event, segment):
            return min(event.at, segment.ended_at or event.at), bool(event.data.get("stopped"))
    return (segment.ended_at, False) if segment.ended_at is not None and segment.ended_by else None


def _of(event: EventRecord, segment: Segment) -> bool:
    return bool(event.data.get("segment", 1) == segment.number)


def _saved_at(event: EventRecord) -> datetime:
    return datetime.fromtimestamp(event.data["at"], UTC) if "at" in event.data else event.at
