"""The champion's weights go along with a retraining: to be compared with, and to begin with."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.registry import reading, version
from launcher.registry.names import CHAMPION
from launcher.registry.place import open_store
from launcher.registry.registry import Registry

if TYPE_CHECKING:
    from launcher.domain import Account, JobSpec, RunId
    from launcher.ledger import Ledger, ScheduleRecord
    from launcher.live import LiveRun
    from launcher.paths import StatePaths

EVENT = "champion"
VERSION_FILE = "version.json"
WARM_START = "GPURUN_WARM_START"
INHERITED = "GPURUN_INHERITED_CHECKPOINT"
"""Names a folder, for a launch that goes on where an interrupted one was stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """Verified files of one version, in a folder that is to be a run's."""

    name: str
    number: int
    folder: Path


def fetch(schedule: ScheduleRecord, name: str, account: Account, state: StatePaths) -> Champion | None:
    """The present champion of a name, every byte verified; `None` where there is none, or nobody asks for it.

    Raises `WeightsError` for a champion that is damaged: before anything is bought.
    """
    if not schedule.metric and not schedule.warm_start:
        return None
    registry = Registry(open_store(schedule.store, account=account))
    if registry.trusted(name).champion is None:
        return None
    chosen = registry.resolve(f"{name}@{CHAMPION}")
    # One run of a schedule at a time: what lies here is a dead process's.
    folder = state.schedules / schedule.name / "champion"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    for file in chosen.files:
        reading.fetch(registry.store, chosen, file, folder)
    (folder / VERSION_FILE).write_bytes(version.dump(chosen))
    return Champion(name=name, number=chosen.number, folder=folder)


def told(spec: JobSpec, schedule: ScheduleRecord, champion: Champion | None) -> JobSpec:
    """The spec of a run that is to begin where the champion ended; without one it begins as ever."""
    if champion is None or not schedule.warm_start:
        return spec
    return replace(spec, env={**spec.env, WARM_START: schedule.warm_start})


def stow(live: LiveRun, champion: Champion | None) -> None:
    """Have the champion go along with a run that was made; once it is told of, it lies there whole."""
    if champion is None:
        return
    shutil.rmtree(live.paths.champion, ignore_errors=True)
    champion.folder.replace(live.paths.champion)
    live.event(EVENT, name=champion.name, number=champion.number)


def inherit(live: LiveRun) -> None:
    """Have the checkpoint of an interrupted run go along, where this process was told of one."""
    place = os.environ.get(INHERITED)
    if place and Path(place).is_dir():
        live.event("inherits", checkpoint=place)
        shutil.copytree(place, live.paths.inherited, symlinks=True)


def sent(book: Ledger, run_id: RunId) -> int | None:
    """The number of the champion that went along with a run."""
    events = [event.data for event in book.events(run_id) if event.kind == EVENT]
    return int(str(events[-1]["number"])) if events else None


def drop(state: StatePaths, run_id: RunId) -> None:
    """The run is over: its copies of champion and checkpoint go."""
    shutil.rmtree(state.run(run_id).champion, ignore_errors=True)
    shutil.rmtree(state.run(run_id).inherited, ignore_errors=True)
