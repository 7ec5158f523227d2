"""The words of the house: frozen values that every room passes on. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NewType

RunId = NewType("RunId", str)

TAG_RUN = "gpurun:run"
TAG_NAME = "gpurun:name"
TAG_DEADLINE = "gpurun:deadline"
TAG_SEGMENT = "gpurun:segment"


class RunStatus(StrEnum):
    """Where a run stands; the last three are final."""

    PLANNED = "planned"
    PROVISIONING = "provisioning"
    BOOTING = "booting"
    SYNCING = "syncing"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FETCHING = "fetching"
    TERMINATING = "terminating"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing follows: no machine is left and nothing is billed."""
        return self in {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED}


TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.PLANNED: frozenset({RunStatus.PROVISIONING, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.PROVISIONING: frozenset({RunStatus.BOOTING, RunStatus.INTERRUPTED, RunStatus.TERMINATING}),
    RunStatus.BOOTING: frozenset({RunStatus.SYNCING, RunStatus.INTERRUPTED, RunStatus.TERMINATING}),
    RunStatus.SYNCING: frozenset({RunStatus.RUNNING, RunStatus.INTERRUPTED, RunStatus.TERMINATING}),
    RunStatus.RUNNING: frozenset({RunStatus.FETCHING, RunStatus.INTERRUPTED, RunStatus.TERMINATING}),
    RunStatus.INTERRUPTED: frozenset({RunStatus.PROVISIONING, RunStatus.TERMINATING}),
    RunStatus.FETCHING: frozenset({RunStatus.TERMINATING, RunStatus.INTERRUPTED}),
    RunStatus.TERMINATING: frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.SUCCEEDED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}
"""What may follow what. A resumed run may also stay where it is: `a -> a` is always allowed."""


class Device(StrEnum):
    """What the job computes on."""

    CPU = "cpu"
    GPU = "gpu"


class FloatX(StrEnum):
    """The job's floating-point type, as Theano named the setting."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"


class Market(StrEnum):
    """How a machine is bought."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"
    YOURS = "yours"
    """Not at all: it is the user's own."""


AWS = "aws"
"""Where a run's machines come from, unless it says otherwise."""
LOCAL = "local"
"""The machine that gpurun itself runs on."""


class SpotPolicy(StrEnum):
    """Which markets a spec allows: spot alone, on-demand alone, or spot with on-demand behind it."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"
    PREFER_SPOT = "prefer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Which cloud to speak to, and how: data alone, so that AWS, moto and the sandbox differ in nothing else.

    `None` means what boto3 and OpenSSH would do by themselves.
    """

    profile: str | None = None
    region: str | None = None
    config_file: Path | None = None
    credentials_file: Path | None = None
    ssh_config_file: Path | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """The accelerators of one machine."""

    kind: str
    count: int
    memory_bytes: int
    """Of one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """What an hour costs, part by part, in US dollars."""

    instance_usd_per_hour: float
    disk_usd_per_hour: float
    address_usd_per_hour: float

    @property
    def total_usd_per_hour(self) -> float:
        """All parts together."""
        return self.instance_usd_per_hour + self.disk_usd_per_hour + self.address_usd_per_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCost:
    """What a whole run costs in one pool on the average, part by part, in US dollars."""

    hourly: CostEstimate
    work_usd: float
    """For the hours of work alone."""
    setup_usd: float
    """For booting and sending code and data, once."""
    interruptions: float
    """How many are expected over the run."""
    interruptions_usd: float
    """For booting, sending and doing half a checkpoint interval again, as often as that."""
    total_usd: float
    daily_volatility: float | None
    """Of the spot price, a share per square root of a day; `None`: not known."""
    placement_score: int | None
    """EC2's, of the region, from 1 to 10; `None`: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A figure that a plan rests on, and how it is known."""

    value: float
    source: str
    """`assumed`, or what it was measured on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What the expected cost of a run rests on."""

    work_hours: float
    boot_s: Measured
    """From asking for the machine until SSH answers."""
    upload_bytes: int | None
    """Code and data that go up from here; `None`: not known."""
    upload_bytes_per_s: Measured
    checkpoint_interval_s: Measured

    @property
    def upload_s(self) -> float:
        """How long code and data take to go up."""
        return (self.upload_bytes or 0) / self.upload_bytes_per_s.value

    @property
    def setup_s(self) -> float:
        """Until the job starts."""
        return self.boot_s.value + self.upload_s

    @property
    def restart_s(self) -> float:
        """What an interruption costs: another machine, and half a checkpoint interval of work done again."""
        return self.setup_s + self.checkpoint_interval_s.value / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeCheck:
    """Whether a checkpoint comes home between a spot instance's notice and its end."""

    checkpoint_bytes: Measured
    bytes_per_s: Measured
    limit_s: float

    @property
    def seconds(self) -> float:
        """What the checkpoint takes."""
        return self.checkpoint_bytes.value / self.bytes_per_s.value

    @property
    def fits(self) -> bool:
        """Whether it is home in time."""
        return self.seconds <= self.limit_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One pool with its price: an instance type in a zone, spot or on-demand."""

    instance_type: str
    region: str
    zone: str
    market: Market
    price_usd_per_hour: float
    on_demand_usd_per_hour: float | None
    vcpus: int
    memory_bytes: int
    architecture: str
    gpu: Gpu | None
    priced_at: datetime
    source: str
    """`live`, `cache` or `snapshot`: where the price comes from."""
    expected: ExpectedCost | None = None
    """Of the run that is planned; `None` where none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A machine image as EC2 knows it."""

    image_id: str
    name: str
    region: str
    architecture: str
    root_device: str
    root_size_gib: int
    created_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The offers to try, best first, and what the run will cost at most."""

    offers: tuple[Offer, ...]
    image: Image
    cost: CostEstimate
    """Of the best offer."""
    dearest: CostEstimate
    """Of the dearest offer: EC2 may choose any of them for its capacity."""
    hours: float
    """How long the run may last: the earlier of max_hours and what max_cost buys of the dearest offer."""
    warnings: tuple[str, ...] = ()
    assumptions: Assumptions | None = None
    """`None` in plans of older versions."""
    notice: NoticeCheck | None = None
    """`None` where no checkpoint's size is known, or none is at stake."""
    snapshot_date: str = ""
    """Of the figures that this package brings, where EC2 could not be asked: such a plan is not for launching."""
    place: str = AWS
    """`aws`, or the user's own machine: `local`, or `ssh://user@host:port`."""
    host_keys: tuple[HostKey, ...] = ()
    """What the user's own machine may show, by his known_hosts."""

    @property
    def max_cost_usd(self) -> float:
        """The most that the run can cost."""
        return self.dearest.total_usd_per_hour * self.hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A machine as EC2 describes it."""

    instance_id: str
    instance_type: str
    region: str
    zone: str
    market: Market
    state: str
    """pending, running, shutting-down, terminated, stopping or stopped."""
    public_address: str | None
    private_address: str | None
    launched_at: datetime | None
    state_reason: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def gone(self) -> bool:
        """Whether EC2 bills nothing for it any more."""
        return self.state == "terminated"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """A public host key: its algorithm (`ssh-ed25519`) and the base64 text."""

    algorithm: str
    base64: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a run's machine answers SSH, and which host key it must show."""

    address: str
    user: str
    host_keys: tuple[HostKey, ...]
    port: int = 22
    key_file: Path | None = None
    config_file: Path | None = None
    proxy: str | None = None


class FileKind(StrEnum):
    """What a manifest's line stands for."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One line of a manifest; `name` is relative, with `/` between its parts, surrogate-escaped where not UTF-8."""

    name: str
    kind: FileKind
    size_bytes: int
    mode: int
    mtime_ns: int
    sha256: str = ""
    link_target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a tree holds, sorted by name."""

    entries: tuple[FileEntry, ...]

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(entry.size_bytes for entry in self.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferProgress:
    """How far a transfer is; it is over when all its bytes and files are done."""

    label: str
    done_bytes: int
    """Of the files' own bytes, those that are in place over there, however they came to be."""
    total_bytes: int
    """Zero together with `total_files`: not known yet."""
    done_files: int
    total_files: int
    sent_bytes: int = 0
    """Over the line so far, compressed."""
    reused_bytes: int = 0
    """Of `done_bytes`, those that the far side had: unchanged, copied there, or left by a transfer that broke off."""
    connections: int = 0
    """Over how many the bulk goes; zero: not told."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do; never where the totals are unknown."""
        known = self.total_bytes > 0 or self.total_files > 0
        return known and self.done_bytes >= self.total_bytes and self.done_files >= self.total_files


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUsage:
    """What the job used, as `time` prints it."""

    user_s: float
    system_s: float
    elapsed_s: float
    max_rss_kib: int
    major_faults: int
    minor_faults: int
    inputs: int
    outputs: int

    @property
    def cpu_percent(self) -> int:
        """Processor time over elapsed time."""
        return round(100 * (self.user_s + self.system_s) / self.elapsed_s) if self.elapsed_s else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """What the cloud has told the machine of its end."""

    kind: str
    """`spot`: a notice, with its moment; `rebalance`: one may come."""
    action: str = ""
    """Of a notice: terminate, stop or hibernate."""
    noticed_at: float = 0.0
    """Seconds since the epoch, by the machine's clock."""
    ends_at: float | None = None
    """Of a notice: seconds since the epoch, as the cloud said it."""
    ends_in_s: float | None = None
    """Of a notice: seconds from when it was told to this laptop, whatever any clock says; never negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """What a machine says of the generations that it has sent to the run's outputs by itself."""

    generation: int
    """The newest; 0: none yet."""
    segment: int
    files: int
    size_bytes: int
    final: bool
    """Whether the job is over and all of it is there."""
    age_s: float | None = None
    """Since the newest was looked at."""
    error_kind: str = ""
    """What keeps the next one from going: refused, unreachable, changing or disk; unreadable: only some
    files do not go; empty: nothing."""
    error: str = ""
    failing_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """What the agent says of the job."""

    state: str
    """absent, starting, running, done, or lost: its supervisor died and it is over."""
    exit_status: int | None = None
    """As a shell gives it: 128 + N for signal N."""
    killed_by_memory: bool = False
    usage: JobUsage | None = None
    log_bytes: int = 0
    ended_by: str = ""
    """Who asked it to end: signal, interruption, deadline or shutdown (of the machine); empty: nobody."""
    interruption: Interruption | None = None
    shipped: Shipped | None = None
    """Of a job whose machine sends its results to a store by itself."""


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
