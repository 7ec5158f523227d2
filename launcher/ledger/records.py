"""The ledger's rows as values, and the texts that some of their columns hold."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from launcher.domain import AWS, Account, JobUsage, PhaseTime, Receipt, RunId, RunStatus, Segment, SegmentCost
from launcher.errors import LedgerError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """All that the laptop knows of one run; times carry their zone."""

    run_id: RunId
    name: str
    status: RunStatus
    created_at: datetime
    updated_at: datetime
    account: str
    """`account_to_text` of the account that the run was launched with."""
    region: str
    spec: str
    """`launcher.spec.dump` of the job's spec."""
    results_dir: str
    token: str
    """The idempotency token of the launch call."""
    plan: str | None = None
    ended_at: datetime | None = None
    deadline_at: datetime | None = None
    instance_id: str | None = None
    instance_type: str | None = None
    zone: str | None = None
    market: str | None = None
    price_usd_per_hour: float | None = None
    address: str | None = None
    exit_status: int | None = None
    reason: str = ""
    """Why it ended as it did, or why it waits."""
    launcher_pid: int | None = None
    launcher_started: str | None = None
    """Tells the launcher's process from a later one with the same number."""
    detached: bool = False
    host_key_line: str | None = None
    receipt: str | None = None
    """`receipt_to_text` of the receipt."""
    segment: int = 1
    """Which of the run's machines is the present one; the columns about a machine are that one's."""
    place: str = AWS
    """Where its machines come from: `aws`, `local` or `ssh://user@host:port`."""


class RunChanges(TypedDict, total=False):
    """What may change in a run; its status changes through `Ledger.advance` alone."""

    updated_at: datetime
    ended_at: datetime | None
    deadline_at: datetime | None
    region: str
    spec: str
    plan: str | None
    results_dir: str
    token: str
    instance_id: str | None
    instance_type: str | None
    zone: str | None
    market: str | None
    price_usd_per_hour: float | None
    address: str | None
    exit_status: int | None
    reason: str
    launcher_pid: int | None
    launcher_started: str | None
    detached: bool
    host_key_line: str | None
    receipt: str | None
    segment: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One step of a run; `event_id` grows over all runs."""

    event_id: int
    run_id: RunId
    at: datetime
    kind: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRecord:
    """Something in the cloud to be released in the end; without `aws_id` it may or may not exist."""

    resource_id: int
    run_id: RunId
    kind: str
    token: str
    region: str
    aws_id: str | None
    intended_at: datetime
    confirmed_at: datetime | None
    released_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """What one run's cost is worked out from: its row, with the receipt once there is one, and its machines."""

    run: RunRecord
    segments: tuple[Segment, ...]


RUN_COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(RunRecord))
RUN_CHANGES: frozenset[str] = RunChanges.__optional_keys__
SEGMENT_COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Segment))
_RECEIPT_FIELDS = frozenset(field.name for field in fields(Receipt))
_SEGMENT_COST_FIELDS = frozenset(field.name for field in fields(SegmentCost))


def to_column(value: object) -> object:
    """A field's value as SQLite stores it; a time without a zone raises `ValueError`."""
    if isinstance(value, datetime):
        return time_text(value)
    return int(value) if isinstance(value, bool) else value


def time_text(moment: datetime) -> str:
    """UTC, ISO 8601, always with microseconds, so that texts sort as times do."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def run_from_row(row: dict[str, Any]) -> RunRecord:
    """A row of the table `runs`."""
    times = {key: _time(row[key]) for key in ("created_at", "updated_at", "ended_at", "deadline_at")}
    status = RunStatus(row["status"])
    return RunRecord(**{**row, **times, "status": status, "detached": bool(row["detached"])})


def event_from_row(row: dict[str, Any]) -> EventRecord:
    """A row of the table `events`."""
    return EventRecord(**{**row, "at": _time(row["at"]), "data": json.loads(row["data"])})


def resource_from_row(row: dict[str, Any]) -> ResourceRecord:
    """A row of the table `resources`."""
    times = {key: _time(row[key]) for key in ("intended_at", "confirmed_at", "released_at")}
    return ResourceRecord(**{**row, **times})


def segment_from_row(row: dict[str, Any]) -> Segment:
    """A row of the table `segments`."""
    values = {name: row[name] for name in SEGMENT_COLUMNS}
    return Segment(**{**values, "began_at": _time(row["began_at"]), "ended_at": _time(row["ended_at"])})


def account_to_text(account: Account) -> str:
    """An account as JSON; it holds names and paths, never a secret."""
    return json.dumps(asdict(account), default=str)


def account_from_text(text: str) -> Account:
    """What `account_to_text` wrote."""
    values = json.loads(text)
    for key in ("config_file", "credentials_file", "ssh_config_file"):
        values[key] = Path(values[key]) if values[key] is not None else None
    return Account(**values)


def receipt_to_text(receipt: Receipt) -> str:
    """A receipt as JSON."""
    return json.dumps(asdict(receipt), default=datetime.isoformat)


def receipt_from_text(text: str) -> Receipt:
    """What `receipt_to_text` wrote, in this version or another: what is missing or unknown does not matter.

    Raises `LedgerError` for anything else.
    """
    try:
        values = {name: value for name, value in json.loads(text).items() if name in _RECEIPT_FIELDS}
        values["status"] = RunStatus(values["status"])
        for name in ("phases", "wasted"):
            values[name] = tuple(PhaseTime(**phase) for phase in values.get(name, ()))
        values["segments"] = tuple(_segment_cost(each) for each in values.get("segments", ()))
        values["usage"] = JobUsage(**values["usage"]) if values.get("usage") else None
        return Receipt(**values)
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise LedgerError(f"a receipt cannot be read: {fault}", hint="gpurun status --all lists the runs") from fault


def _segment_cost(values: dict[str, Any]) -> SegmentCost:
    known = {name: value for name, value in values.items() if name in _SEGMENT_COST_FIELDS}
    ended_at = _time(known.get("ended_at"))
    return SegmentCost(**{**known, "began_at": datetime.fromisoformat(known["began_at"]), "ended_at": ended_at})


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None
