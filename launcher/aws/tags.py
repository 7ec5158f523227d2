"""Tags, between our dictionaries and EC2's lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.domain import TAG_RUN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from types_boto3_ec2.literals import ResourceTypeType
    from types_boto3_ec2.type_defs import FilterTypeDef, TagSpecificationTypeDef, TagTypeDef

TAG_BAKE = "gpurun:bake"
"""On a machine image that gpurun made, and on its snapshots: the run that baked it."""
TAG_HOURS = "gpurun:hours"
"""On a machine that a schedule in the cloud launches: how long it lives at most, from its launch on."""
TAG_SCHEDULE = "gpurun:schedule"
"""On all that a deployed schedule stands of: its name."""
TAG_USES = "gpurun:uses"
"""On a launch template of such a schedule: the image that it launches from."""
TAG_IMAGE = "gpurun:image"
"""On those that are tested and ready: the name to launch from them by."""


def to_list(tags: Mapping[str, str]) -> list[TagTypeDef]:
    """As EC2 takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def to_dict(tags: Iterable[TagTypeDef] | None) -> dict[str, str]:
    """As we keep them."""
    return {tag.get("Key", ""): tag.get("Value", "") for tag in tags or ()}


def at_birth(kind: ResourceTypeType, run_id: str, tags: Mapping[str, str]) -> TagSpecificationTypeDef:
    """The tags that a resource is made with; the run's own is always among them."""
    return {"ResourceType": kind, "Tags": to_list({**tags, TAG_RUN: run_id})}


def of_run(run_id: str) -> FilterTypeDef:
    """The filter that finds what belongs to a run."""
    return {"Name": f"tag:{TAG_RUN}", "Values": [run_id]}


def of_any_run() -> FilterTypeDef:
    """The filter that finds what belongs to any run."""
    return {"Name": "tag-key", "Values": [TAG_RUN]}
