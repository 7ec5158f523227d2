"""Schedules of faults played on whole runs: several at once over one sandbox, each in a region and home of its own."""

from __future__ import annotations

import json
import queue
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from launcher.sandbox import control
from launcher.sandbox.client import SandboxClient
from launcher.sandbox.control import Sandbox
from tests.faults.observer import Cloud, Thing
from tests.faults.schedules import Schedule
from tests.faults.trial import Played, Trial

HOST_MIB = 64
START_TIMEOUT_S = 180.0
ALL = -1
"""In the place of a seed: of all schedules together."""


def play_all(
    schedules: Iterable[Schedule], sandbox: Sandbox, folder: Path, *, at_once: int, keep: bool = False
) -> Iterator[Played]:
    """Play schedules, so many at once, each in a region that no other has meanwhile; as they end, each is given.

    Where one of the regions has more in the end than it had in the beginning, one more comes last, which tells it.
    """
    SandboxClient(sandbox.endpoint_url).settings(disk_bytes=HOST_MIB << 20)
    cloud = Cloud(sandbox.endpoint_url)
    before: dict[str, frozenset[Thing]] = {}
    regions: queue.Queue[str] = queue.Queue()
    # The Price List API answers from us-east-1 for all.
    for region in cloud.regions():
        if region != "us-east-1":
            regions.put(region)

    def one(schedule: Schedule) -> Played:
        region = regions.get()
        home = folder / f"s{schedule.seed}"
        try:
            if schedule.alone:
                with cloud_of_its_own(folder / f"s{schedule.seed}-cloud") as own:
                    trial = Trial(schedule, own, region, home, cloud.at(own.endpoint_url))
                    played = trial.play()
            else:
                trial = Trial(schedule, sandbox, region, home, cloud)
                before.setdefault(region, trial.before)
                played = trial.play()
        finally:
            regions.put(region)
        if played.problems or keep:
            tell(trial, Path(played.folder))
        else:
            shutil.rmtree(home)
        return played

    try:
        with ThreadPoolExecutor(min(at_once, regions.qsize())) as pool:
            yield from (done.result() for done in as_completed([pool.submit(one, schedule) for schedule in schedules]))
    finally:
        SandboxClient(sandbox.endpoint_url).settings(disk_bytes=0)
    left = [
        f"{kind} {what} in {region}" for region, then in before.items() for kind, what in cloud.leftovers(region, then)
    ]
    if left:
        yield Played(seed=ALL, status="left behind", leftovers=len(left), problems=left)


@contextmanager
def cloud_of_its_own(folder: Path) -> Iterator[Sandbox]:
    """A sandbox for one trial, gone with it."""
    try:
        own = control.start(folder, timeout_s=START_TIMEOUT_S)
        SandboxClient(own.endpoint_url).settings(disk_bytes=HOST_MIB << 20)
        yield own
    finally:
        control.stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


def tell(trial: Trial, folder: Path) -> None:
    """Leave the whole story beside the trial's home."""
    lines = [str(trial.schedule), "", *trial.log, "", json.dumps(asdict(trial.played), indent=1)]
    (folder / "story").write_text("\n".join(lines) + "\n")


def stamp() -> str:
    """Now, for a folder's name."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
