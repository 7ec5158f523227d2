"""What `gpurun schedule add` is asked for, checked whole before anything is written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.ledger import ScheduleRecord

MISSED = ("run-once", "skip")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


def checked(
    *,
    name: str,
    spec: str,
    cron: str | None,
    tz: str | None,
    data: str | None,
    missed: str,
    store: str | None,
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
    from launcher.schedule import watch

    if not _NAME.fullmatch(name):
        raise SpecError(f"{name!r:.60} is no name for a schedule", hint="a-z, 0-9 and -, at most 41: digits-weekly")
    if cron is None and data is None:
        raise SpecError("when is it due?", hint=f"{crons.EXAMPLE}; or --on-data-change PLACE")
    if cron is None and tz is not None:
        raise SpecError("--tz is the zone of --cron", hint="add --cron, or leave --tz out")
    if missed not in MISSED:
        raise SpecError(f"--missed {missed!r:.40}: run-once or skip is expected", hint="--missed skip")
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
        place=on or "aws",
        options=json.dumps({"sandbox": sandbox, "profile": profile}),
        considered_at=now,
    )
    return _first_look(record, lambda: retrain.cloud(record)) if where else record


def _store(text: str | None) -> str:
    """Where the weights go, wherever it is read from later."""
    from launcher.registry import place

    meant = text or os.environ.get(place.VARIABLE) or place.DEFAULT
    return meant if meant.startswith("s3://") else place.open_store(meant).uri


def _first_look(record: ScheduleRecord, cloud: Callable[[], Aws]) -> ScheduleRecord:
    """What the data is now: only what comes later is new."""
    from launcher.schedule import watch

    try:
        seen, sha256 = watch.appearance(record.data, cloud), watch.contents(record.data, cloud)
    except SpecError as error:
        message = f"--on-data-change: {error.message}"
        raise SpecError(message, hint=f"see `ls -ld {record.data}`, or name another place") from error
    return replace(record, data_seen=seen, data_sha256=sha256)
