"""What the user asks for: a job, what it needs, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from launcher.domain.cloud import SpotPolicy
from launcher.domain.device import Device, FloatX
from launcher.domain.wish import ComparisonWish, LegOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What the job needs of a machine; zero or empty means "any"."""

    gpu_kind: str | None = None
    gpu_count: int = 0
    gpu_memory_bytes: int = 0
    vcpus: int = 0
    memory_bytes: int = 0
    architecture: str = ""
    """x86_64 or arm64; empty: that of `instance_types` where they are named, else x86_64."""
    instance_types: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    """`all` stands for every enabled one; empty: the configured one."""
    zones: tuple[str, ...] = ()
    spot: SpotPolicy = SpotPolicy.PREFER_SPOT
    disk_gib: int = 50
    image: str = ""
    """An AMI id, `name:PATTERN`, `tag:gpurun:image=VALUE` or `ssm:/PARAMETER`; empty: the Deep Learning AMI."""
    burstable: bool = True
    """Whether a machine will do whose processors are throttled once its credits are spent (T3 and its like)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run may cost at most, in hours and US dollars, over all its machines."""

    max_hours: float = 4.0
    max_cost_usd: float | None = None
    max_price_usd_per_hour: float | None = None
    max_restarts: int = 10
    """How often the run may go on on another machine after it lost one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshOptions:
    """How to reach the machine where the defaults do not do."""

    user: str = "ubuntu"
    key: Path | None = None
    """The user's own private key; `None`: one is made for the run and deleted with it."""
    config_file: Path | None = None
    proxy: str | None = None
    """A ProxyJump host, as ssh -J takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job, checked: what to run, on what, with which limits."""

    name: str
    argv: tuple[str, ...] = ()
    script: str = ""
    """A shell script; exactly one of `argv` and `script` is given."""
    workdir: Path
    data: Path | str | None = None
    """A local file or folder, or an `s3://bucket/prefix`; it lands in GPURUN_DATA_DIR."""
    env: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    """Names of environment variables of the caller; their values travel over SSH's standard input alone."""
    device: Device = Device.GPU
    floatx: FloatX = FloatX.FLOAT32
    resources: Requirements = field(default_factory=Requirements)
    limits: Limits = field(default_factory=Limits)
    outputs: Path | str | None = None
    """Where results go: a folder at home, or an `s3://bucket/prefix` that the machine itself sends them to, too.

    `None`, and an address: what comes home goes to `runs/<id>/` below the current folder.
    """
    checkpoint: bool = True
    """Whether GPURUN_CHECKPOINT_DIR comes home too."""
    keep_on_failure_s: float = 0.0
    ssh: SshOptions = field(default_factory=SshOptions)
    legs: tuple[LegOrder, ...] = ()
    """Where there are any, the machine executes and measures each in turn; `device` and `floatx` then say nothing."""
    repeats: int = 1
    """How often it does, interleaved."""
    compare: ComparisonWish = field(default_factory=ComparisonWish)
    """What `gpurun compare-cpu-gpu` does with it where nothing else is said."""
