"""Schedules in a ledger of their own, and launches that are only written down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from launcher.errors import GpurunError
from launcher.ledger import Ledger, ScheduleRecord, TickRecord, TickStatus
from launcher.schedule import engine
from launcher.schedule.engine import Hands

BEGIN = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)


def record(name: str = "weekly", **changes) -> ScheduleRecord:
    plain = ScheduleRecord(
        name=name,
        created_at=BEGIN,
        spec="/job.yaml",
        folder="/",
        cron="* * * * *",
        data_looked_at=BEGIN - timedelta(hours=1),
        missed="run-once",
        store="/weights",
        place="local",
        considered_at=BEGIN,
    )
    return replace(plain, **changes)


@dataclass
class Desk:
    """One state folder, and a clock that tests set."""

    book: Ledger
    now: datetime = BEGIN
    started: list[TickRecord] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    fault: Exception | None = None

    @property
    def hands(self) -> Hands:
        return Hands(start=self.start, cloud=self.no_cloud, trouble=self.troubles.append)

    def start(self, _schedule: ScheduleRecord, tick: TickRecord) -> None:
        """The tick stays in the hands of this process, which lives."""
        if self.fault is not None:
            raise self.fault
        self.started.append(tick)

    def no_cloud(self, _schedule: ScheduleRecord):
        raise GpurunError("there is no cloud here")

    def add(self, **changes) -> ScheduleRecord:
        schedule = record(**changes)
        self.book.schedules.add(schedule)
        return schedule

    def run_due(self, at: datetime | None = None) -> tuple[TickRecord, ...]:
        self.now = at or self.now
        return engine.run_due(self.book, self.now, self.hands)

    def finish(self, status: TickStatus = TickStatus.SUCCEEDED) -> None:
        for tick in self.book.ticks.unfinished():
            assert self.book.ticks.end(tick, status, "", self.now)

    def ticks(self, name: str = "weekly") -> list[TickRecord]:
        return list(reversed(self.book.ticks.list(name)))

    def told(self, name: str = "weekly") -> list[tuple[str, str]]:
        return [(f"{tick.due_at:%H:%M}", tick.status.value) for tick in self.ticks(name)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Ledger.open(tmp_path / "state" / "ledger.db") as book:
        yield Desk(book)
