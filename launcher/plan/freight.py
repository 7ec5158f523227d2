"""How much goes up before the job starts, and whether a checkpoint comes home in time."""

from __future__ import annotations

from pathlib import Path

from launcher.domain import JobSpec, Measured, NoticeCheck, SpotPolicy
from launcher.errors import SpecError
from launcher.plan.experience import ASSUMED, Experience
from launcher.sync.local import ignore, tree

NOTICE_S = 120.0
"""EC2 User Guide, "Spot Instance interruption notices"."""
S3_BYTES_PER_S = Measured(value=100e6, source=ASSUMED)
"""From a machine to a bucket in its region; EC2 User Guide: 5 Gbit/s for a single flow at most."""


def weigh(spec: JobSpec) -> int | None:
    """Bytes of code and data that go up from here; `None` where they cannot be looked at.

    Data in S3 is not counted: the machine fetches it by itself, at a rate that is not the bottleneck.
    """
    try:
        code_bytes = tree.scan(spec.workdir, ignore=ignore.rules(spec.workdir)).size_bytes
        if not isinstance(spec.data, Path):
            return code_bytes
        return code_bytes + tree.scan(spec.data, ignore=ignore.nothing()).size_bytes
    except SpecError:
        return None  # what is wrong with it is told when it is packed


def notice_check(spec: JobSpec, experience: Experience) -> NoticeCheck | None:
    """The last known checkpoint against the two minutes of a notice; `None` where no spot machine or size is known."""
    size = experience.checkpoint_bytes
    if size is None or spec.resources.spot is SpotPolicy.ON_DEMAND:
        return None
    rate = S3_BYTES_PER_S if _durable(spec) else experience.home_bytes_per_s
    return NoticeCheck(checkpoint_bytes=size, bytes_per_s=rate, limit_s=NOTICE_S)


def objection(notice: NoticeCheck | None) -> list[str]:
    """A line where the checkpoint does not come home in time."""
    if notice is None or notice.fits:
        return []
    size, rate = notice.checkpoint_bytes, notice.bytes_per_s
    return [
        f"a checkpoint of {size.value / 1e6:.0f} MB ({size.source}) takes {notice.seconds:.0f} s at"
        f" {rate.value / 1e6:.1f} MB/s ({rate.source}), and a spot machine ends {notice.limit_s:.0f} s after its"
        " notice: use outputs: s3://BUCKET/PREFIX, save smaller checkpoints, or --spot false"
    ]


def _durable(spec: JobSpec) -> bool:
    return str(spec.outputs or "").startswith("s3:")
