"""What a machine says of its job."""

from __future__ import annotations

from dataclasses import dataclass


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
