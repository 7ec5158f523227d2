"""What the user asks a comparison for."""

from __future__ import annotations

from dataclasses import dataclass, field

from launcher.domain.device import Device, FloatX


@dataclass(frozen=True, slots=True, kw_only=True)
class LegOrder:
    """One way to execute a job whose ways are compared, in turn with the others on the same machine."""

    name: str
    """Unique in its job, and a folder's name there: see `launcher.spec.legs`."""
    device: Device
    floatx: FloatX
    env: dict[str, str] = field(default_factory=dict)
    """More than the job's own, and over it: `GPURUN_BACKEND`, say."""
    argv: tuple[str, ...] = ()
    """In the place of the job's own command; it and `script` empty: that."""
    script: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedLeg:
    """What somebody else measured of a leg: figures to be shown beside ours, each only where it was told."""

    device: Device
    floatx: FloatX | None = None
    """`None`: it stands beside every one of ours."""
    backend: str = ""
    """Empty: likewise."""
    settings: tuple[tuple[str, str], ...] = ()
    """The sweep's point that it is of, with all of its settings."""
    train_s: float | None = None
    """Of the training alone."""
    elapsed_s: float | None = None
    """Of the whole command."""
    error: float | None = None
    """A share, 0 to 1, or in the job's own unit."""
    by: str = ""
    """Whose, or which machine's; what one has measured on both devices makes a speed-up."""
    source: str = ""
    """Where it is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonWish:
    """Which ways to run a job are to be compared, as a spec or flags say it; empty: not said."""

    title: str = ""
    devices: tuple[Device, ...] = ()
    floatx: tuple[FloatX, ...] = ()
    backends: tuple[str, ...] = ()
    on: str = ""
    """`same`, `best`, or a place, or one for the CPU and one for the GPU: `local+aws`."""
    instance_types: tuple[str, ...] = ()
    repeats: int | None = None
    target: float | None = None
    """Of the error: how long each way takes to get there."""
    points: tuple[tuple[tuple[str, str], ...], ...] = ()
    """Of a sweep: at each, the job's settings that differ from the other points'."""
    cited: tuple[tuple[str, str], ...] = ()
    """Figures from elsewhere, to be shown beside ours: (what, figure with its source)."""
    cited_legs: tuple[CitedLeg, ...] = ()
    """Those that are of a leg, so that they stand beside its own."""
