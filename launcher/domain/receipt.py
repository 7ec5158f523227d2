"""What a run was billed, machine by machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from launcher.domain.report import JobUsage
from launcher.domain.run import RunId, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTime:
    """One row of the receipt's phase table."""

    name: str
    seconds: float


NOT_NEEDED = "not needed"
"""What ended a successor that nobody moved to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A run's time on one machine; a run that is interrupted goes on in the next segment."""

    number: int
    """From 1."""
    instance_id: str
    instance_type: str
    region: str
    zone: str
    market: str
    price_usd_per_hour: float
    """Of the instance alone, in force when it was made."""
    began_at: datetime
    """When the machine was there; it is billed from then on."""
    ended_at: datetime | None = None
    """When it was seen terminated; `None`: it may still be there."""
    ended_by: str = ""
    """What ended it, in EC2's words or ours; empty: the end of the run."""

    @property
    def interrupted(self) -> bool:
        """Whether it ended before the run was done with it."""
        return self.ended_by not in {"", NOT_NEEDED}


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentCost(Segment):
    """A segment with what it cost, in US dollars."""

    billed_s: int
    instance_usd: float
    disk_usd: float
    address_usd: float
    cost_usd: float
    """All three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a finished run cost and brought home."""

    run_id: RunId
    status: RunStatus
    exit_status: int | None
    instance_type: str
    zone: str
    market: str
    price_usd_per_hour: float
    """Of the last machine, as the three before it."""
    billed_s: float
    """Of all machines together."""
    cost_usd: float
    """All in all."""
    phases: tuple[PhaseTime, ...]
    results_dir: str
    fetched: bool = False
    """Whether all that the job wrote came home, verified."""
    files: int
    size_bytes: int
    usage: JobUsage | None = None
    instance_usd: float = 0.0
    """Of `cost_usd`, what the instances alone cost; the next two are the rest of it."""
    disk_usd: float = 0.0
    address_usd: float = 0.0
    estimate_usd: float | None = None
    """What the plan's best offer would have cost over the billed seconds; `None` in receipts of older versions."""
    most_usd: float | None = None
    """What the plan said that the run costs at most."""
    segments: tuple[SegmentCost, ...] = ()
    """Every machine of the run; none in receipts of older versions."""
    api_calls: int = 0
    """Requests that the run's launchers sent to AWS, planning and retries included; 0 in receipts of older versions."""
    wasted: tuple[PhaseTime, ...] = ()
    """Machine time that no training came of: what replacing machines took, by phase, and `training` that was lost."""
