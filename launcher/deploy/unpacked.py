"""A deployed schedule as it lies on its machine: what was decided at home, made to fit the place."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.domain import LOCAL, SshOptions
from launcher.errors import SpecError
from launcher.ledger import ScheduleRecord
from launcher.schedule.stored import SPEC_NAME
from launcher.spec import dump, restore

if TYPE_CHECKING:
    from launcher.domain import JobSpec

RESERVE = timedelta(minutes=2)
"""Of the machine's time, for what comes after the job: its weights, their verdict, the log."""
OWN_OPTIONS = ("canary", "notify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What the archives hold, in a folder of the machine."""

    folder: Path
    name: str
    region: str
    bucket: str
    prefix: str
    """Of the schedule's own folder in the bucket."""
    hours: float
    schedule: ScheduleRecord
    """To be run here."""
    spec: JobSpec

    @property
    def born_at(self) -> datetime:
        """When this machine came up first, as its boot command wrote it down."""
        return datetime.fromtimestamp(int((self.folder / "born").read_text()), UTC)

    @property
    def code(self) -> Path:
        """What is known of the code, from where it was deployed."""
        return self.folder / "work/code.json"


def read(folder: Path) -> Unpacked:
    """Read it; raises `SpecError` where it is not what `gpurun schedule deploy` sent."""
    work = folder / "work"
    try:
        told = json.loads((work / "deployed.json").read_text())
        spec = restore((work / "spec.json").read_text())
        found = json.loads((work / "schedule.json").read_text())
        return Unpacked(
            folder=folder,
            name=str(told["name"]),
            region=str(told["region"]),
            bucket=str(told["bucket"]),
            prefix=str(told["prefix"]),
            hours=float(told["hours"]),
            schedule=_here(found, folder),
            spec=_moved(spec, folder),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(
            f"{folder} holds no deployed schedule: {error}", hint="gpurun schedule deploy sends one"
        ) from error


def store_spec(unpacked: Unpacked, ends_at: datetime) -> None:
    """Have the spec where the schedule looks for it, with what time is left to the job."""
    left = ends_at - RESERVE - datetime.now(UTC)
    hours = max(left.total_seconds(), 60.0) / 3600
    spec = replace(unpacked.spec, limits=replace(unpacked.spec.limits, max_hours=hours, max_cost_usd=None))
    Path(unpacked.schedule.spec).write_text(dump(spec))


def _here(found: dict[str, Any], folder: Path) -> ScheduleRecord:
    """The schedule with the paths, place and options of this machine; data on a laptop cannot be watched from here."""
    options = json.loads(found["options"])
    here = folder / "here"
    here.mkdir(exist_ok=True)
    changed = {
        "spec": str(folder / SPEC_NAME),
        "folder": str(here),
        "place": LOCAL,
        "data": found["data"] if str(found["data"]).startswith("s3://") else "",
        "options": json.dumps({key: options[key] for key in OWN_OPTIONS if key in options}),
        "paused": False,
    }
    times = {name: datetime.fromisoformat(found[name]) for name in ("created_at", "data_looked_at", "considered_at")}
    return ScheduleRecord(**{each.name: (found | changed | times)[each.name] for each in fields(ScheduleRecord)})


def _moved(spec: JobSpec, folder: Path) -> JobSpec:
    """The spec with this machine's paths, and nothing that only a launch from afar has."""
    data = folder / "data" if isinstance(spec.data, Path) else spec.data
    return replace(spec, workdir=folder / "work/code", data=data, outputs=None, ssh=SshOptions(), secrets=())
