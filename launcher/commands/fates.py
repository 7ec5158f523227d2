"""What of all that carries our tags may go: whatever no living run speaks for."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from launcher.aws.orphans.looks import past
from launcher.domain import TAG_DEADLINE
from launcher.owner import TAG_OWNER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from launcher.aws.orphans import Orphan
    from launcher.ledger import RunRecord

BAKE_HOURS = 24
"""An image that is still being made after a day is not being made."""
UNSEEN_MINUTES = 60
"""A schedule is armed when its machine is there already; by then EC2 shows the machine to everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Who asks, and when."""

    owner: str
    """Our own `gpurun:owner`."""
    everybody: bool
    """Whether other laptops' runs may go before their deadline."""
    now: datetime
    blind: frozenset[str] = frozenset()
    """Regions whose machines could not be looked for."""

    def doomed(self, orphans: Iterable[Orphan], records: Sequence[RunRecord]) -> list[Orphan]:
        """Those that may go, in the order in which they came."""
        found = list(orphans)
        known = {str(record.run_id): record for record in records}
        kin: dict[str, list[Orphan]] = defaultdict(list)
        for each in found:
            if TAG_OWNER in each.tags and each.run_id:
                kin[each.run_id].append(each)
        return [each for each in found if self._goes(each, known.get(each.run_id), kin[each.run_id])]

    def _goes(self, orphan: Orphan, record: RunRecord | None, kin: Sequence[Orphan]) -> bool:
        if record is not None:
            return record.status.final or (record.deadline_at is not None and record.deadline_at < self.now)
        if orphan.kind == "schedule" and orphan.region in self.blind and self._armed(orphan):
            return False
        if self.everybody or past(orphan.tags.get(TAG_DEADLINE, ""), self.now):
            return True
        if TAG_OWNER not in orphan.tags:
            return self._ownerless_goes(orphan, kin)
        return orphan.tags[TAG_OWNER] == self.owner and not self._being_made(orphan)

    def _ownerless_goes(self, orphan: Orphan, kin: Sequence[Orphan]) -> bool:
        """Schedules carry no tags: as the rest of the run, and where there is no rest, once that must show."""
        if kin:
            return all(self._goes(each, None, ()) for each in kin)
        return orphan.kind == "schedule" and self._older(orphan, timedelta(minutes=UNSEEN_MINUTES))

    def _armed(self, schedule: Orphan) -> bool:
        """Whether it may be the kill switch of a machine that lives: it must not go before that is known."""
        return not past(schedule.tags.get(TAG_DEADLINE, ""), self.now)

    def _being_made(self, orphan: Orphan) -> bool:
        """Whether it may be the work of a bake that goes on: no ledger keeps those."""
        pending = orphan.kind in {"image", "snapshot"} and orphan.state == "pending"
        return pending and not orphan.run_id and not self._older(orphan, timedelta(hours=BAKE_HOURS))

    def _older(self, orphan: Orphan, age: timedelta) -> bool:
        if orphan.created_at is None:
            return False
        made = orphan.created_at if orphan.created_at.tzinfo else orphan.created_at.replace(tzinfo=UTC)
        return self.now - made > age
