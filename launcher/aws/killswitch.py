"""The lifeline's second layer: a one-shot schedule in the cloud that ends a run's machines at their deadline.

It outlives the laptop, the machine's kernel and everybody's credentials. EventBridge Scheduler acts under a role of
the account, `gpurun-scheduler`, which may do nothing but terminate instances that carry a run's tag; see `policy`.
Source: Amazon EventBridge Scheduler API Reference and User Guide, "Schedule types", "Using universal targets".
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws.faults import code_of
from launcher.aws.polling import until
from launcher.errors import GpurunError, NotArmed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from types_boto3_scheduler.type_defs import (
        CreateScheduleInputTypeDef,
        GetScheduleOutputTypeDef,
        ScheduleSummaryTypeDef,
    )

    from launcher.aws.client import Aws

GROUP = "gpurun"
"""The schedule group of all runs: schedules cannot be tagged, groups can."""
TAG_GROUP = "gpurun:group"
ROLE = "gpurun-scheduler"
"""The role that EventBridge Scheduler acts under, in every account."""
PREFIX = "gpurun-"
RETRY_FOR_S = 86_400
RETRIES = 185
"""The most that Scheduler grants: a termination that is throttled is tried again for a day."""
THROTTLED = frozenset({"ThrottlingException", "Throttling", "RequestLimitExceeded", "TooManyRequestsException"})
REMOVE_TIMEOUT_S = 10.0
GROUP_TIMEOUT_S = 5.0
"""By when a group that was just made must be known."""
SET_UP = "gpurun doctor --print-iam gpurun-iam writes the role's policies and the commands that make it"

_RUN_CHARACTERS = 48
_NO_ROLE = "must allow AWS EventBridge Scheduler to assume the role"
_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Armed:
    """A kill switch that is set."""

    name: str
    region: str
    fires_at: datetime
    instance_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A kill switch as it was found in a region, whoever set it."""

    name: str
    region: str
    run_id: str
    """Empty where the schedule does not tell."""
    fires_at: datetime | None
    """`None` where its expression is no time of ours."""
    instance_ids: tuple[str, ...]
    created_at: datetime | None


def role(aws: Aws) -> str:
    """The ARN of the role that acts, whether the account has it or not; one call to STS, none to IAM."""
    identity = aws.identity()
    partition = identity.arn.split(":")[1]
    return f"arn:{partition}:iam::{identity.account_id}:role/{ROLE}"


def arm(
    aws: Aws, *, run_id: str, segment: int, instance_ids: Sequence[str], deadline: datetime, role_arn: str
) -> Armed:
    """Have the machines of a run's segment terminated at its deadline; a switch that is set already is set anew.

    One call where the region has our group. Raises `NotArmed`, which fails no run, where the account has no such
    role, the identity may not, or the service does not answer.
    """
    wanted = _schedule(run_id, segment, instance_ids, deadline, role_arn)
    with _not_armed(aws, "set the kill switch"):
        if not _put(aws, wanted):
            _make_group(aws)
            _put_soon(aws, wanted)
    return Armed(
        name=wanted["Name"], region=aws.region, fires_at=_whole_second(deadline), instance_ids=tuple(instance_ids)
    )


def prepare(aws: Aws) -> None:
    """Have the region's group there, for machines that set their own switch and may make no group."""
    with aws.errors(f"make the schedule group {GROUP}"):
        _make_group(aws)


def disarm(aws: Aws, *, run_id: str) -> None:
    """Remove all of the run's switches in this region; harmless when there is none. Raises `NotArmed`."""
    with _not_armed(aws, "remove the kill switch"):
        for summary in _summaries(aws, prefix_of(run_id)):
            _delete(aws, summary["Name"])


def find(aws: Aws) -> list[Switch]:
    """Every switch in this region, oldest first; the group is ours, so no tag is asked for."""
    with aws.errors("look for kill switches"), ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(lambda each: _get(aws, each["Name"]), _summaries(aws, PREFIX)))
    return sorted((_switch(aws, each) for each in found if each is not None), key=lambda switch: switch.name)


def remove(aws: Aws, name: str) -> None:
    """Remove one switch by its name; harmless when it is gone. A service that throttles is asked for a while."""
    with aws.errors(f"remove the kill switch {name}"):
        if not until(lambda: _deleted(aws, name), REMOVE_TIMEOUT_S):
            _delete(aws, name)


def never(role_arn: str) -> CreateScheduleInputTypeDef:
    """A schedule that can be asked for and never made: its time is none. For trying permissions."""
    wanted = _schedule("gpurun-doctor", 0, [], datetime.now(UTC), role_arn)
    return wanted | {"ScheduleExpression": "at(never)"}


def prefix_of(run_id: str) -> str:
    """How the names of a run's switches begin, and those of no other run: ids have no full stop."""
    plain = re.sub(r"[^0-9a-zA-Z-]", "-", run_id)[:_RUN_CHARACTERS]
    if plain != run_id:
        plain = f"{plain[: _RUN_CHARACTERS - 13]}_{hashlib.sha256(run_id.encode()).hexdigest()[:12]}"
    return f"{PREFIX}{plain}."


def _schedule(
    run_id: str, segment: int, instance_ids: Sequence[str], deadline: datetime, role_arn: str
) -> CreateScheduleInputTypeDef:
    partition = role_arn.split(":")[1]
    # No ClientToken of ours: botocore makes one for each call and its retries. One that were always the same would
    # have a switch that was removed taken for one that is there.
    return {
        "Name": f"{prefix_of(run_id)}{segment}",
        "GroupName": GROUP,
        "Description": _description(run_id),
        "ScheduleExpression": f"at({_whole_second(deadline):%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": f"arn:{partition}:scheduler:::aws-sdk:ec2:terminateInstances",
            "RoleArn": role_arn,
            "Input": json.dumps({"InstanceIds": list(instance_ids)}),
            "RetryPolicy": {"MaximumEventAgeInSeconds": RETRY_FOR_S, "MaximumRetryAttempts": RETRIES},
        },
    }


def _whole_second(moment: datetime) -> datetime:
    """Rounded up: EC2 must never end a machine before its deadline."""
    return datetime.fromtimestamp(math.ceil(moment.timestamp()), UTC)


def _put(aws: Aws, wanted: CreateScheduleInputTypeDef, *, group_known: bool = False) -> bool:
    """Create or replace a schedule; `False` where its group is not there, unless that is `group_known`."""
    try:
        aws.scheduler.create_schedule(**wanted)
    except ClientError as error:
        if code_of(error) == "ConflictException":
            aws.scheduler.update_schedule(**wanted)
        elif code_of(error) == "ResourceNotFoundException" and not group_known:
            return False
        else:
            raise
    return True


def _put_soon(aws: Aws, wanted: CreateScheduleInputTypeDef) -> None:
    """Put it into a group that was just made, which takes a moment to be known."""
    if not until(lambda: _put(aws, wanted) or None, GROUP_TIMEOUT_S):
        _put(aws, wanted, group_known=True)


def _make_group(aws: Aws) -> None:
    try:
        aws.scheduler.create_schedule_group(Name=GROUP, Tags=[{"Key": TAG_GROUP, "Value": "kill-switch"}])
    except ClientError as error:
        if code_of(error) != "ConflictException":
            raise


def _summaries(aws: Aws, prefix: str) -> list[ScheduleSummaryTypeDef]:
    pages = aws.scheduler.get_paginator("list_schedules").paginate(GroupName=GROUP, NamePrefix=prefix)
    try:
        return [each for page in pages for each in page["Schedules"]]
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        return []  # no group: no run ever had a switch here


def _get(aws: Aws, name: str) -> GetScheduleOutputTypeDef | None:
    try:
        return aws.scheduler.get_schedule(GroupName=GROUP, Name=name)
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        return None


def _delete(aws: Aws, name: str) -> None:
    try:
        aws.scheduler.delete_schedule(GroupName=GROUP, Name=name)
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise


def _deleted(aws: Aws, name: str) -> bool | None:
    """Whether it could be asked for: `None` while the service throttles."""
    try:
        _delete(aws, name)
    except ClientError as error:
        if code_of(error) not in THROTTLED:
            raise
        return None
    return True


def _switch(aws: Aws, found: GetScheduleOutputTypeDef) -> Switch:
    return Switch(
        name=found["Name"],
        region=aws.region,
        run_id=_run_of(found.get("Description", "")),
        fires_at=_moment(found["ScheduleExpression"]),
        instance_ids=_instances(found["Target"].get("Input", "")),
        created_at=found.get("CreationDate"),
    )


def _description(run_id: str) -> str:
    return f"gpurun:run={run_id}"[:512]


def _run_of(description: str) -> str:
    key, _, run_id = description.partition("=")
    return run_id if key == "gpurun:run" else ""


def _moment(expression: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(expression.removeprefix("at(").removesuffix(")"))
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC)


def _instances(text: str) -> tuple[str, ...]:
    try:
        ids = json.loads(text)["InstanceIds"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(str(each) for each in ids) if isinstance(ids, list) else ()


@contextmanager
def _not_armed(aws: Aws, doing: str) -> Iterator[None]:
    """Raise `NotArmed` for whatever goes wrong: a run is safe without this layer, and must not fail for it."""
    try:
        with aws.errors(doing):
            yield
    except GpurunError as error:
        no_role = _NO_ROLE in error.message
        why = f"the account has no role {ROLE} that EventBridge Scheduler may take" if no_role else error.message
        raise NotArmed(
            f"no kill switch in the cloud: {why}",
            hint=SET_UP if no_role else error.hint,
            code=getattr(error, "code", ""),
        ) from error
