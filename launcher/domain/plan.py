"""What may be bought for a job, and what that is expected to cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from launcher.domain.cloud import AWS, Market
from launcher.domain.machine import HostKey


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
