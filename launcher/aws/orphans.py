"""What is left of runs, from the tags alone: it works with the ledger lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws import instances, network, regions, template
from launcher.aws import tags as tagging
from launcher.aws.faults import code_of
from launcher.domain import TAG_RUN
from launcher.errors import CredentialsError, GpurunError, NotPermitted, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from types_boto3_ec2.type_defs import TagTypeDef

    from launcher.aws.client import Aws

THREADS = 16
TERMINATE_TIMEOUT_S = 300.0
KINDS = ("instance", "volume", "launch-template", "key-pair", "security-group")
"""In the order in which they can be removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """Something that carries a run's tag, whether the run still lives or not."""

    kind: str
    """One of `KINDS`."""
    id: str
    """As EC2 has it; a key pair's is its name."""
    region: str
    run_id: str
    name: str
    created_at: datetime | None
    state: str
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found in all regions, and which would not be searched."""

    orphans: tuple[Orphan, ...]
    """In the order in which they can be removed."""
    refused: dict[str, str]
    """Region -> what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What could not be removed, and why."""

    orphan: Orphan
    error: GpurunError


def find(aws: Aws) -> list[Orphan]:
    """All that carries a run's tag in this region, in the order in which it can be removed.

    What goes with its machine (an attached volume, a network interface) is not listed apart.
    """
    looks: Sequence[Callable[[Aws], list[Orphan]]] = (_instances, _volumes, _templates, _keys, _groups)
    with aws.errors("look for what is left of runs"), ThreadPoolExecutor(len(looks)) as pool:
        return [each for found in pool.map(lambda look: look(aws), looks) for each in found]


def survey(aws: Aws) -> Survey:
    """Search every enabled region.

    A region that refuses us (organisations close regions by policy) is named in the answer; any other failure, and a
    refusal by the home region, is raised: what was not searched must not look clean.
    """
    names = sorted({aws.region, *regions.enabled(aws)})
    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = dict(zip(names, pool.map(lambda region: _look(aws.at(region)), names), strict=True))
    home = outcomes[aws.region]
    if isinstance(home, GpurunError):
        raise home
    found = [each for outcome in outcomes.values() if isinstance(outcome, list) for each in outcome]
    found.sort(key=lambda each: (KINDS.index(each.kind), each.region, each.run_id, each.id))
    refused = {name: outcome.message for name, outcome in outcomes.items() if isinstance(outcome, GpurunError)}
    return Survey(orphans=tuple(found), refused=refused)


def _look(aws: Aws) -> list[Orphan] | GpurunError:
    try:
        return find(aws)
    except (NotPermitted, CredentialsError) as refusal:
        return refusal


def remove(aws: Aws, orphan: Orphan) -> None:
    """Remove one thing for good; harmless when it is gone. An instance is seen to be terminated.

    Raises `ProvisionError` when it cannot be removed, as a group that a living machine holds.
    """
    here = aws.at(orphan.region)
    if orphan.kind == "instance":
        instances.terminate(here, [orphan.id])
        instances.wait_terminated(here, [orphan.id], TERMINATE_TIMEOUT_S)
    elif orphan.kind == "launch-template":
        template.delete_by_id(here, orphan.id)
    elif orphan.kind == "security-group":
        network.delete_group(here, orphan.id)
    elif orphan.kind in {"volume", "key-pair"}:
        _delete(here, orphan)
    else:
        raise SpecError(f"{orphan.kind!r} is nothing that gpurun makes", hint=f"one of {', '.join(KINDS)}")


def remove_all(aws: Aws, orphans: Iterable[Orphan]) -> tuple[Failure, ...]:
    """Remove many, machines first, since they hold the rest; gives those that could not be, and stops at none."""
    ordered = sorted(orphans, key=lambda each: KINDS.index(each.kind))
    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = [
            outcome
            for _, group in groupby(ordered, key=lambda each: each.kind)
            for outcome in pool.map(lambda orphan: _try_to_remove(aws, orphan), group)
        ]
    return tuple(outcome for outcome in outcomes if outcome is not None)


def _try_to_remove(aws: Aws, orphan: Orphan) -> Failure | None:
    try:
        remove(aws, orphan)
    except GpurunError as error:
        return Failure(orphan=orphan, error=error)
    return None


def _delete(aws: Aws, orphan: Orphan) -> None:
    with aws.errors(f"delete {orphan.kind} {orphan.id}"):
        try:
            if orphan.kind == "volume":
                aws.ec2.delete_volume(VolumeId=orphan.id)
            else:
                aws.ec2.delete_key_pair(KeyName=orphan.id)
        except ClientError as error:
            if not code_of(error).endswith(".NotFound"):
                raise


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
            tags=each.tags,
        )
        for each in instances.by_filter(aws, [tagging.of_any_run()])
        if not each.gone
    ]


def _volumes(aws: Aws) -> list[Orphan]:
    pages = aws.ec2.get_paginator("describe_volumes").paginate(
        Filters=[tagging.of_any_run(), {"Name": "status", "Values": ["available"]}]
    )
    return [
        _orphan(aws, "volume", each["VolumeId"], each.get("Tags"), each.get("CreateTime"), each["State"])
        for page in pages
        for each in page["Volumes"]
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


def _orphan(
    aws: Aws,
    kind: str,
    identifier: str,
    tag_list: Iterable[TagTypeDef] | None,
    created_at: datetime | None,
    state: str = "available",
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
    )
