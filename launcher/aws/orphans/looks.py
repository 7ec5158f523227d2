"""How each kind of thing is found in one region, by its tag."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from launcher.aws import instances, killswitch
from launcher.aws import tags as tagging
from launcher.aws.orphans.found import Orphan
from launcher.aws.tags import TAG_BAKE, TAG_HOURS, TAG_IMAGE
from launcher.domain import TAG_DEADLINE, TAG_RUN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from types_boto3_ec2.type_defs import FilterTypeDef, TagTypeDef

    from launcher.aws.client import Aws
    from launcher.domain import Instance

T = TypeVar("T")
_HOURS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})?")

HALF_MADE = frozenset({"pending", "failed", "error", "invalid", "transient"})
"""States of images and snapshots that are of no use yet, or never will be."""
LEFT: FilterTypeDef = {"Name": "status", "Values": ["available", "error"]}
"""Volumes that no machine has; an attached one goes with its machine or is found when that is gone."""


def past(moment: str, now: datetime | None = None) -> bool:
    """Whether a deadline's tag, a time in UTC unless it names another zone, lies behind us; rubbish does not."""
    try:
        deadline = datetime.fromisoformat(moment)
    except ValueError:
        return False
    return (deadline if deadline.tzinfo else deadline.replace(tzinfo=UTC)) < (now or datetime.now(UTC))


def _instances(aws: Aws) -> list[Orphan]:
    return [
        Orphan(
            kind="instance",
            id=each.instance_id,
            region=aws.region,
            run_id=each.tags.get(TAG_RUN, ""),
            name=each.tags.get("Name", ""),
            created_at=each.launched_at,
            state=each.state,
            tags=_with_deadline(each),
        )
        for each in instances.by_filter(aws, [tagging.of_any_run()])
        if not each.gone
    ]


def _with_deadline(machine: Instance) -> dict[str, str]:
    """The tags; one that began by itself could not be told its deadline before there was a time to count from."""
    hours = machine.tags.get(TAG_HOURS, "")
    if machine.launched_at is None or TAG_DEADLINE in machine.tags or not _HOURS.fullmatch(hours):
        return machine.tags
    deadline = machine.launched_at + timedelta(hours=float(hours))
    return {**machine.tags, TAG_DEADLINE: deadline.isoformat(timespec="seconds")}


def _schedules(aws: Aws) -> list[Orphan]:
    return [
        Orphan(
            kind="schedule",
            id=each.name,
            region=aws.region,
            run_id=each.run_id,
            name=each.name,
            created_at=each.created_at,
            state="armed",
            tags={TAG_RUN: each.run_id, **({TAG_DEADLINE: each.fires_at.isoformat()} if each.fires_at else {})},
        )
        for each in killswitch.find(aws)
        if each.run_id  # what does not say so is not ours, whatever its name
    ]


def volumes(aws: Aws) -> list[Orphan]:
    """Volumes of ours that no machine has."""
    pages = aws.ec2.get_paginator("describe_volumes").paginate(Filters=[tagging.of_any_run(), LEFT])
    return [
        _orphan(aws, "volume", each["VolumeId"], each.get("Tags"), each.get("CreateTime"), each["State"])
        for page in pages
        for each in page["Volumes"]
    ]


def _addresses(aws: Aws) -> list[Orphan]:
    answer = aws.ec2.describe_addresses(Filters=[tagging.of_any_run()])
    return [
        _orphan(aws, "address", each["AllocationId"], each.get("Tags"), None, each.get("InstanceId") or "available")
        for each in answer["Addresses"]
    ]


def _templates(aws: Aws) -> list[Orphan]:
    pages = aws.ec2.get_paginator("describe_launch_templates").paginate(Filters=[tagging.of_any_run()])
    return [
        _orphan(aws, "launch-template", each["LaunchTemplateId"], each.get("Tags"), each.get("CreateTime"))
        for page in pages
        for each in page["LaunchTemplates"]
    ]


def _keys(aws: Aws) -> list[Orphan]:
    answer = aws.ec2.describe_key_pairs(Filters=[tagging.of_any_run()])
    return [
        _orphan(aws, "key-pair", each["KeyName"], each.get("Tags"), each.get("CreateTime"))
        for each in answer["KeyPairs"]
    ]


def _groups(aws: Aws) -> list[Orphan]:
    pages = aws.ec2.get_paginator("describe_security_groups").paginate(Filters=[tagging.of_any_run()])
    return [
        _orphan(aws, "security-group", each["GroupId"], each.get("Tags"), None)
        for page in pages
        for each in page["SecurityGroups"]
    ]


def _rules(aws: Aws) -> list[Orphan]:
    pages = aws.ec2.get_paginator("describe_security_group_rules").paginate(Filters=[tagging.of_any_run()])
    return [
        _orphan(aws, "security-group-rule", each["SecurityGroupRuleId"], each.get("Tags"), None, holder=each["GroupId"])
        for page in pages
        for each in page["SecurityGroupRules"]
        if not each["IsEgress"]  # we make ways in alone
    ]


def _images(aws: Aws) -> list[Orphan]:
    """Only those that are half made."""
    pages = _tagged(aws.ec2.get_paginator("describe_images").paginate, Owners=["self"])
    found = [
        _orphan(aws, "image", each["ImageId"], each.get("Tags"), _moment(each.get("CreationDate")), each["State"])
        for page in pages
        for each in page["Images"]
    ]
    return [each for each in _once(found) if _half_made(each)]


def snapshots(aws: Aws, *more: FilterTypeDef) -> list[Orphan]:
    """Snapshots of ours, in whatever state, that pass `more` filters too."""
    pages = _tagged(aws.ec2.get_paginator("describe_snapshots").paginate, *more, OwnerIds=["self"])
    return _once(
        _orphan(aws, "snapshot", each["SnapshotId"], each.get("Tags"), each.get("StartTime"), each["State"])
        for page in pages
        for each in page["Snapshots"]
    )


def _tagged(ask: Callable[..., Iterable[T]], *more: FilterTypeDef, **whose: Any) -> Iterator[T]:
    """The pages of what carries a run's tag, then of what carries a bake's."""
    for tag in (TAG_RUN, TAG_BAKE):
        yield from ask(Filters=[{"Name": "tag-key", "Values": [tag]}, *more], **whose)


def _once(found: Iterable[Orphan]) -> list[Orphan]:
    return list({each.id: each for each in found}.values())


def _half_made(orphan: Orphan) -> bool:
    """What is ready is what somebody wanted, until a deadline that it may carry; a baked image has a name then."""
    unready = TAG_RUN in orphan.tags and TAG_BAKE in orphan.tags and TAG_IMAGE not in orphan.tags
    return unready or orphan.state in HALF_MADE or past(orphan.tags.get(TAG_DEADLINE, ""))


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def _orphan(
    aws: Aws,
    kind: str,
    identifier: str,
    tag_list: Iterable[TagTypeDef] | None,
    created_at: datetime | None,
    state: str = "available",
    **more: Any,
) -> Orphan:
    tags: Mapping[str, str] = tagging.to_dict(tag_list)
    return Orphan(
        kind=kind,
        id=identifier,
        region=aws.region,
        run_id=tags.get(TAG_RUN, ""),
        name=tags.get("Name", ""),
        created_at=created_at,
        state=state,
        tags=dict(tags),
        **more,
    )


LOOKS: dict[str, Callable[[Aws], list[Orphan]]] = {
    "instance": _instances,
    "schedule": _schedules,
    "volume": volumes,
    "address": _addresses,
    "launch-template": _templates,
    "key-pair": _keys,
    "security-group": _groups,
    "security-group-rule": _rules,
    "image": _images,
    "snapshot": lambda aws: [each for each in snapshots(aws) if _half_made(each)],
}
"""One for each of `found.KINDS`."""
