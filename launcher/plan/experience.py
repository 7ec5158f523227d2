"""What earlier runs tell of the next one, from the ledger: the line's rates, how long a machine takes to be there."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from launcher.domain import AWS, Account, Measured
from launcher.ledger import EventRecord, Ledger, RunRecord, account_to_text
from launcher.paths import CHECKPOINT_NAME, OWN_FOLDER

ASSUMED = "assumed"
BOOT_S = Measured(value=90.0, source=ASSUMED)
"""A GPU machine with a Deep Learning image is reached after 30 to 90 s."""
UPLOAD_BYTES_PER_S = Measured(value=2.5e6, source=ASSUMED)
"""20 Mbit/s: what a home's line sends."""
HOME_BYTES_PER_S = Measured(value=12.5e6, source=ASSUMED)
"""100 Mbit/s: what a home's line takes."""
CHECKPOINT_INTERVAL_S = Measured(value=600.0, source=ASSUMED)
LOOKED_AT = 20
"""Runs, newest first."""
TELLING_BYTES = 4_000_000
"""What goes over in less is the time of round trips, not the line's rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """What a plan rests on beside prices; without earlier runs, what is assumed."""

    boot_s: Measured = BOOT_S
    upload_bytes_per_s: Measured = UPLOAD_BYTES_PER_S
    home_bytes_per_s: Measured = HOME_BYTES_PER_S
    checkpoint_interval_s: Measured = CHECKPOINT_INTERVAL_S
    checkpoint_bytes: Measured | None = None


def experience(ledger: Ledger, account: Account, name: str) -> Experience:
    """From the last runs on the same cloud, and from the last one of that name where it is about the job itself."""
    runs = ledger.list(limit=LOOKED_AT)
    told = [(run, ledger.events(run.run_id)) for run in runs if run.account == account_to_text(account)]
    # A machine of the user's own neither boots nor lies behind the same line; the job is the same there.
    here = [(run, events) for run, events in told if run.place == AWS]
    namesakes = [(run, events) for run, events in told if run.name == name]
    return Experience(
        boot_s=_boot_s(here) or BOOT_S,
        upload_bytes_per_s=_rate(here, "sent") or UPLOAD_BYTES_PER_S,
        home_bytes_per_s=_rate(here, "came") or HOME_BYTES_PER_S,
        checkpoint_interval_s=_interval_s(namesakes) or CHECKPOINT_INTERVAL_S,
        checkpoint_bytes=_checkpoint_bytes(namesakes),
    )


Runs = Sequence[tuple[RunRecord, Sequence[EventRecord]]]


def _boot_s(runs: Runs) -> Measured | None:
    """From asking for the first machine until files go to it; the middle one of those measured."""
    found = []
    for _, events in runs:
        phases = {
            event.data["name"]: datetime.fromisoformat(event.data["at"]) for event in reversed(_of(events, "phase"))
        }
        if "provision" in phases and "sync" in phases:
            found.append((phases["sync"] - phases["provision"]).total_seconds())
    return Measured(value=statistics.median(found), source=f"{len(found)} earlier runs") if found else None


def _rate(runs: Runs, kind: str) -> Measured | None:
    """Of the last transfer that was large enough to tell."""
    for run, events in runs:
        for event in reversed(_of(events, kind)):
            size_bytes, seconds = event.data["sent_bytes"], event.data["seconds"]
            if size_bytes >= TELLING_BYTES and seconds > 0:
                return Measured(value=size_bytes / seconds, source=f"run {run.run_id}")
    return None


def _interval_s(runs: Runs) -> Measured | None:
    for run, events in runs:
        times = [event.at for event in _of(events, "checkpoint.saved")]
        if len(times) > 1:
            return Measured(value=(times[-1] - times[0]).total_seconds() / (len(times) - 1), source=f"run {run.run_id}")
    return None


def _checkpoint_bytes(runs: Runs) -> Measured | None:
    for run, events in runs:
        shipped = [event.data["size_bytes"] for event in _of(events, "checkpoint.saved")]
        size_bytes = shipped[-1] if shipped else _size_bytes(Path(run.results_dir) / OWN_FOLDER / CHECKPOINT_NAME)
        if size_bytes:
            return Measured(value=size_bytes, source=f"run {run.run_id}")
    return None


def _size_bytes(folder: Path) -> int:
    return sum(_file_bytes(path) for path in folder.rglob("*"))


def _file_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size if path.is_file() else 0
    except OSError:
        return 0  # gone since, or not ours to look at


def _of(events: Iterable[EventRecord], kind: str) -> list[EventRecord]:
    return [event for event in events if event.kind == kind]
