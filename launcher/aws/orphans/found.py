"""What a search for orphans finds, and what it could not search or remove."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from launcher.errors import GpurunError

KINDS = (
    "instance",
    "schedule",
    "volume",
    "address",
    "launch-template",
    "key-pair",
    "security-group",
    "security-group-rule",
    "image",
    "snapshot",
)
"""All that gpurun leaves in an account, the costly first.

Instant fleets leave a record too, which is let be: it starts nothing and costs nothing, EC2 lists it to nobody who
does not know its id, and deleting it ends its instances and no more (EC2 API Reference, DescribeFleets, DeleteFleets).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """Something that carries a tag of ours, whether its run still lives or not."""

    kind: str
    """One of `KINDS`."""
    id: str
    """As AWS has it; a key pair's and a schedule's is the name."""
    region: str
    run_id: str
    """Empty for what was made for no run, as the leavings of an image's making."""
    name: str
    created_at: datetime | None
    state: str
    tags: dict[str, str] = field(default_factory=dict)
    """A schedule has none: what its description and its time say stands here as run and deadline."""
    holder: str = ""
    """Of a security group's rule: the group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsearched:
    """One kind of thing that could not be looked for in one region."""

    region: str
    kind: str
    why: str
    closed: bool
    """The region is closed to us (not enabled, or by the organisation's policy): we can have left nothing there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found in all regions, and what could not be searched."""

    orphans: tuple[Orphan, ...]
    """By kind in the order of `KINDS`, then by region."""
    unsearched: tuple[Unsearched, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What could not be removed, and why."""

    orphan: Orphan
    error: GpurunError


def in_order(orphans: Iterable[Orphan]) -> list[Orphan]:
    """By kind in the order of `KINDS`, then by region; rules of a group that is found itself go with the group."""
    found = list(orphans)
    groups = {(each.region, each.id) for each in found if each.kind == "security-group"}
    apart = [each for each in found if (each.region, each.holder) not in groups]
    return sorted(apart, key=lambda each: (KINDS.index(each.kind), each.region, each.run_id, each.id))
