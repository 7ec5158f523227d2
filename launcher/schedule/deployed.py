"""Where a schedule that keeps its time in the cloud stands, as the ledger of this computer remembers it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.ledger import ScheduleRecord

KEY = "deployed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One deployment; what is true of it now, the cloud says."""

    region: str
    at: str
    """When it was deployed, ISO 8601."""
    uri: str
    """The schedule's folder in S3."""


def of(schedule: ScheduleRecord) -> Deployed | None:
    """Its deployment; `None` where its time is kept here."""
    found = json.loads(schedule.options).get(KEY)
    return Deployed(**found) if found else None


def marked(schedule: ScheduleRecord, deployed: Deployed | None) -> ScheduleRecord:
    """The schedule with that deployment, or with none."""
    kept = {key: value for key, value in json.loads(schedule.options).items() if key != KEY}
    return replace(schedule, options=json.dumps(kept | ({KEY: asdict(deployed)} if deployed else {})))
