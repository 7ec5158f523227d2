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
    trains: such seconds overlap with the run's own), `interrupted` {segment}, `job.started` and `job.stopped` {segment}
    and `checkpoint.saved` {at: seconds since the epoch}.
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
    here = [event for event in events if event.data.get("segment", 1) == segment.number]
    started = [event.at for event in here if event.kind == "job.started"]
    ended_at = _given_up_at(here, segment)
    if ended_at is None or not started or started[-1] >= ended_at:
        return 0.0
    saved = [_saved_at(event) for event in events if event.kind == "checkpoint.saved"]
    kept = [moment for moment in saved if started[-1] <= moment <= ended_at]
    stopped = [event.at for event in here if event.kind == "job.stopped"]
    if stopped and any(moment >= stopped[-1] for moment in kept):
        return 0.0
    return (min([ended_at, *stopped]) - max(kept, default=started[-1])).total_seconds()


def _given_up_at(here: Sequence[EventRecord], segment: Segment) -> datetime | None:
    """When a machine was left or lost; `None` for one that the run itself ended, its work done."""
    left = [event.at for event in here if event.kind == "interrupted"]
    if left:
        return min(left[0], segment.ended_at or left[0])
    return segment.ended_at if segment.interrupted else None


def _saved_at(event: EventRecord) -> datetime:
    return datetime.fromtimestamp(event.data["at"], UTC) if "at" in event.data else event.at
