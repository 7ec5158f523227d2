"""What `gpurun schedule add` is asked for, checked whole before anything is written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.ledger import ScheduleRecord

MISSED = ("run-once", "skip")
_METRIC = re.compile(r"[A-Za-z0-9_.:/-]{1,60}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """How a challenger becomes the champion; an empty text means that it was not asked for."""

    metric: str
    better: str
    min_gain: str
    canary: int
    warm_start: str


def promotion(
    metric: str | None, better: str | None, min_gain: str | None, canary: int | None, warm_start: str | None
) -> Promotion:
    """The options of the gate, checked; raises `SpecError`."""
    from launcher.schedule import gate
    from launcher.schedule.wish import WARM_STARTS

    asked = {"--better": better, "--min-gain": min_gain, "--canary": canary}
    idle = [name for name, value in asked.items() if value is not None]
    if metric is None and idle:
        raise SpecError(f"{idle[0]} says how --metric is compared, and there is none", hint="--metric test_error")
    if metric is not None and not _METRIC.fullmatch(metric):
        raise SpecError(
            f"--metric {metric!r:.60} is no name of a number",
            hint="one that the job's evaluation has: --metric test_error",
        )
    if better is not None and better not in gate.BETTER:
        raise SpecError(f"--better {better!r:.40}: lower or higher is expected", hint="--better lower")
    if min_gain is not None:
        gate.parse_gain(min_gain)
    if warm_start is not None and warm_start not in WARM_STARTS:
        raise SpecError(f"--warm-start {warm_start!r:.40}: champion is expected", hint="--warm-start champion")
    return Promotion(
        metric=metric or "",
        better=(better or gate.BETTER[0]) if metric else "",
        min_gain=min_gain or "",
        canary=canary or 1,
        warm_start=warm_start or "",
    )


def checked(
    *,
    name: str,
    spec: str,
    cron: str | None,
    tz: str | None,
    data: str | None,
    missed: str,
    store: str | None,
    promotion: Promotion,
    notify: tuple[str, ...],
    on: str | None,
    sandbox: bool,
    profile: str | None,
    now: datetime,
) -> ScheduleRecord:
    """A schedule whose every part is there and can be read; raises `SpecError`, and what AWS answers for S3."""
    from launcher import spec as specs
    from launcher.commands import own, retrain
    from launcher.ledger import ScheduleRecord
    from launcher.schedule import cron as crons
    from launcher.schedule import notice, watch

    if not _NAME.fullmatch(name):
        raise SpecError(f"{name!r:.60} is no name for a schedule", hint="a-z, 0-9 and -, at most 41: digits-weekly")
    if cron is None and data is None:
        raise SpecError("when is it due?", hint=f"{crons.EXAMPLE}; or --on-data-change PLACE")
    if cron is None and tz is not None:
        raise SpecError("--tz is the zone of --cron", hint="add --cron, or leave --tz out")
    if missed not in MISSED:
        raise SpecError(f"--missed {missed!r:.40}: run-once or skip is expected", hint="--missed skip")
    notice.check(notify)
    entry = crons.parse(cron, tz or crons.local_zone()) if cron is not None else None
    specs.load(Path(spec))
    own.address(on, {"--sandbox": sandbox, "--profile": profile})
    where = data or ""
    if where and not watch.is_s3(where):
        where = str(Path(where).expanduser().absolute())
    record = ScheduleRecord(
        name=name,
        created_at=now,
        spec=str(Path(spec).absolute()),
        folder=str(Path.cwd()),
        cron=entry.text if entry else "",
        zone=entry.zone if entry else "UTC",
        data=where,
        data_looked_at=now,
        missed=missed,
        store=_store(store),
        metric=promotion.metric,
        better=promotion.better,
        min_gain=promotion.min_gain,
        warm_start=promotion.warm_start,
        place=on or "aws",
        options=json.dumps(
            {"sandbox": sandbox, "profile": profile, "canary": promotion.canary, "notify": list(notify)}
        ),
        considered_at=now,
    )
    return _first_look(record, lambda: retrain.cloud(record)) if where else record


def _store(text: str | None) -> str:
    """Where the weights go, wherever it is read from later."""
    from launcher.registry import place

    meant = text or os.environ.get(place.VARIABLE) or place.DEFAULT
    return meant.rstrip("/") if meant.startswith("s3://") else place.open_store(meant).uri


def _first_look(record: ScheduleRecord, cloud: Callable[[], Aws]) -> ScheduleRecord:
    """What the data is now: only what comes later is new."""
    from launcher.schedule import watch

    try:
        seen, sha256 = watch.appearance(record.data, cloud), watch.contents(record.data, cloud)
    except SpecError as error:
        message = f"--on-data-change: {error.message}"
        raise SpecError(message, hint=f"see `ls -ld {record.data}`, or name another place") from error
    return replace(record, data_seen=seen, data_sha256=sha256)
