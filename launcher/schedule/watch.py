"""Looking at data: has it changed, and has it come to rest?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.errors import GpurunError, SpecError
from launcher.registry.data import fingerprint
from launcher.sync.local import ignore, tree

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.ledger import Ledger, ScheduleRecord

LOCAL_EVERY = timedelta(seconds=10)
S3_EVERY = timedelta(minutes=5)
"""A listing of a thousand objects is a request that AWS charges for."""
GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """New data that has come to rest, or why there is none to look at."""

    sha256: str = ""
    looks: str = ""
    problem: str = ""


def is_s3(place: str) -> bool:
    """Whether the data lies in S3."""
    return place.startswith("s3://")


def look(book: Ledger, schedule: ScheduleRecord, now: datetime, cloud: Callable[[], Aws]) -> Change | None:
    """What is new in a schedule's data since it was last trained on; `None`: nothing, or it is too early to say.

    Data that looks otherwise is waited for until two looks in a row agree: a copy may be under way. What only looks
    otherwise, and is the same to the byte, is no change. That it is gone is told once.
    """
    if not schedule.data or _early(schedule, now):
        return None
    try:
        looks = appearance(schedule.data, cloud)
        if looks == schedule.data_seen:
            book.schedules.looked(schedule.name, now, seen=looks, changing="")
            return None
        if looks != schedule.data_changing:
            book.schedules.looked(schedule.name, now, seen=schedule.data_seen, changing=looks)
            return None
        sha256 = contents(schedule.data, cloud)
    except (GpurunError, OSError) as error:
        book.schedules.looked(schedule.name, now, seen=schedule.data_seen, changing=GONE)
        told = error.message if isinstance(error, GpurunError) else str(error)
        return None if schedule.data_changing == GONE else Change(problem=f"the data cannot be looked at: {told}")
    if sha256 == schedule.data_sha256:
        book.schedules.looked(schedule.name, now, seen=looks, changing="")
        return None
    return Change(sha256=sha256, looks=looks)


def appearance(place: str, cloud: Callable[[], Aws]) -> str:
    """Names, sizes and times, which tell of a change without a file being read; raises as `contents` does."""
    if is_s3(place):
        return contents(place, cloud)
    scan = tree.scan(Path(place), ignore=ignore.rules(Path(place)))
    seen = hashlib.sha256()
    for item in scan.items:
        seen.update(repr((item.name, item.kind, item.size_bytes, item.mtime_ns, item.link_target)).encode())
    _require_files(place, sum(item.kind == "f" for item in scan.items))
    return seen.hexdigest()


def contents(place: str, cloud: Callable[[], Aws]) -> str:
    """The sha256 of all that it holds; raises `SpecError` where there is nothing, and what AWS answers."""
    found = fingerprint(place, cloud()) if is_s3(place) else fingerprint(Path(place))
    _require_files(place, found.files)
    return found.sha256


def _require_files(place: str, count: int) -> None:
    """Nothing is trained on no data."""
    if not count:
        raise SpecError(f"{place} holds no files", hint="put the data there first")


def _early(schedule: ScheduleRecord, now: datetime) -> bool:
    every = S3_EVERY if is_s3(schedule.data) else LOCAL_EVERY
    return timedelta(0) <= now - schedule.data_looked_at < every
