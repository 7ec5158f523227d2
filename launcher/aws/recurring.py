"""Schedules in the cloud that launch machines by themselves: EventBridge Scheduler, one group a deployment.

Schedules cannot be tagged, groups can; and with a group everything in it goes. None of them is a kill switch: those lie
in a group of their own, and `gc` leaves these alone.

Source: Amazon EventBridge Scheduler API Reference and User Guide, "Schedule types", "Using universal targets",
"Adding context attributes".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from launcher.aws.faults import code_of
from launcher.aws.killswitch import THROTTLED
from launcher.aws.polling import until
from launcher.errors import ProvisionError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from types_boto3_scheduler.type_defs import (
        CreateScheduleInputTypeDef,
        GetScheduleOutputTypeDef,
        ScheduleSummaryTypeDef,
        TagTypeDef,
    )

    from launcher.aws.client import Aws

SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"
RETRY_FOR_S = 3600
RETRIES = 20
"""A launch that is refused outright, as by a throttled service, is tried again for an hour."""
SOON_S = 60.0
"""By when what was just made (a group, a role) must be known to Scheduler: IAM is eventually consistent."""
GONE_S = 120.0
"""By when a group without schedules is gone."""
NOT_YET = frozenset({"ResourceNotFoundException", "ValidationException"})
GONE = "ResourceNotFoundException"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurring:
    """One schedule and what it calls."""

    group: str
    name: str
    expression: str
    """`cron(...)`, or `at(...)` for once."""
    zone: str
    role_arn: str
    """The role that it calls under."""
    fleet: Mapping[str, Any]
    """Of CreateFleet; context attributes such as SCHEDULED_TIME are filled in when it fires."""
    enabled: bool = True


def put_group(aws: Aws, group: str, tags: Mapping[str, str]) -> None:
    """Make a group; raises `SpecError` where one of that name is somebody else's."""
    with aws.errors(f"make the schedule group {group}"):
        try:
            _make_group(aws, group, tags)
        except ClientError as error:
            if code_of(error) != "ConflictException":
                raise
            there = group_tags(aws, group)
            if there is not None and _state(aws, group) == "DELETING":
                _wait_and_make(aws, group, tags)
                return
            if there is not None and any(there.get(key) != value for key, value in tags.items()):
                raise SpecError(
                    f"{aws.region} has a schedule group {group} that is not this schedule's: {there}",
                    hint=f"another name for the schedule; or: aws scheduler delete-schedule-group --name {group}",
                ) from error


def group_tags(aws: Aws, group: str) -> dict[str, str] | None:
    """The tags of a group; `None` where there is none of that name."""
    with aws.errors(f"look for the schedule group {group}"):
        try:
            arn = aws.scheduler.get_schedule_group(Name=group)["Arn"]
            found = aws.scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"]
        except ClientError as error:
            if code_of(error) != GONE:
                raise
            return None
    return {tag["Key"]: tag["Value"] for tag in found}


def _make_group(aws: Aws, group: str, tags: Mapping[str, str]) -> None:
    listed: list[TagTypeDef] = [{"Key": key, "Value": value} for key, value in tags.items()]
    aws.scheduler.create_schedule_group(Name=group, Tags=listed)


def _state(aws: Aws, group: str) -> str:
    try:
        return aws.scheduler.get_schedule_group(Name=group)["State"]
    except ClientError as error:
        if code_of(error) != GONE:
            raise
        return "DELETING"


def _wait_and_make(aws: Aws, group: str, tags: Mapping[str, str]) -> None:
    """One that an earlier deployment had is on its way out: schedules put into it would go with it."""
    if not until(lambda: group_tags(aws, group) is None or None, GONE_S):
        raise ProvisionError(
            f"the schedule group {group} in {aws.region} is still being removed", hint="deploy again in a minute"
        )
    _make_group(aws, group, tags)


def put(aws: Aws, wanted: Recurring) -> None:
    """Create or replace a schedule, waiting for its group and its role to be known."""
    with aws.errors(f"make the schedule {wanted.name}"):
        if not until(lambda: _put(aws, wanted, patient=True), SOON_S):
            _put(aws, wanted, patient=False)


def found(aws: Aws, group: str) -> list[ScheduleSummaryTypeDef]:
    """The schedules of a group."""
    with aws.errors("look for schedules"):
        pages = aws.scheduler.get_paginator("list_schedules").paginate(GroupName=group)
        try:
            return [each for page in pages for each in page["Schedules"]]
        except ClientError as error:
            if code_of(error) != GONE:
                raise
            return []


def remove(aws: Aws, group: str, name: str) -> None:
    """Remove one schedule; harmless when it is gone."""
    with aws.errors(f"remove the schedule {name}"):
        _remove(lambda: aws.scheduler.delete_schedule(GroupName=group, Name=name))


def remove_group(aws: Aws, group: str) -> None:
    """Remove a group with all that lies in it, and see it gone; harmless when it is gone.

    The schedules first: those of a group that is being deleted may go on firing (EventBridge Scheduler API Reference,
    DeleteScheduleGroup). Raises `ProvisionError` where it does not go.
    """
    for each in found(aws, group):
        remove(aws, group, each["Name"])
    with aws.errors(f"remove the schedule group {group}"):
        _remove(lambda: aws.scheduler.delete_schedule_group(Name=group))
        if not until(lambda: group_tags(aws, group) is None or None, GONE_S):
            raise ProvisionError(
                f"the schedule group {group} in {aws.region} is still being removed", hint="the same again in a minute"
            )


def get(aws: Aws, group: str, name: str) -> GetScheduleOutputTypeDef:
    """One schedule; raises `ProvisionError` where it is gone."""
    with aws.errors(f"look up the schedule {name}"):
        try:
            return aws.scheduler.get_schedule(GroupName=group, Name=name)
        except ClientError as error:
            if code_of(error) != GONE:
                raise
            raise ProvisionError(
                f"{group} has no schedule {name} in {aws.region} any more", hint="gpurun schedule deploy makes it anew"
            ) from error


def enable(aws: Aws, group: str, name: str, *, enabled: bool) -> None:
    """Stop a schedule, or have it go on; raises `ProvisionError` where it is gone."""
    there = get(aws, group, name)
    with aws.errors(f"change the schedule {name}"):
        aws.scheduler.update_schedule(
            Name=name,
            GroupName=group,
            ScheduleExpression=there["ScheduleExpression"],
            ScheduleExpressionTimezone=there.get("ScheduleExpressionTimezone", "UTC"),
            FlexibleTimeWindow=there["FlexibleTimeWindow"],
            Target=there["Target"],
            State="ENABLED" if enabled else "DISABLED",
        )


def body(wanted: Recurring) -> CreateScheduleInputTypeDef:
    """What CreateSchedule is asked for."""
    partition = wanted.role_arn.split(":")[1]
    return {
        "Name": wanted.name,
        "GroupName": wanted.group,
        "ScheduleExpression": wanted.expression,
        "ScheduleExpressionTimezone": wanted.zone,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "State": "ENABLED" if wanted.enabled else "DISABLED",
        "ActionAfterCompletion": "DELETE" if wanted.expression.startswith("at(") else "NONE",
        "Target": {
            "Arn": f"arn:{partition}:scheduler:::aws-sdk:ec2:createFleet",
            "RoleArn": wanted.role_arn,
            "Input": json.dumps(wanted.fleet),
            "RetryPolicy": {"MaximumEventAgeInSeconds": RETRY_FOR_S, "MaximumRetryAttempts": RETRIES},
        },
    }


def _put(aws: Aws, wanted: Recurring, *, patient: bool) -> bool | None:
    """Create or replace it; `None` while its group or role is not known yet."""
    asked = body(wanted)
    try:
        aws.scheduler.create_schedule(**asked)
    except ClientError as error:
        if code_of(error) == "ConflictException":
            aws.scheduler.update_schedule(**asked)
        elif patient and code_of(error) in NOT_YET | THROTTLED:
            return None
        else:
            raise
    return True


def _remove(call: Callable[[], object]) -> None:
    """Until it is gone; a service that throttles is asked for a while."""
    if not until(lambda: _removed(call, patient=True), SOON_S):
        _removed(call, patient=False)


def _removed(call: Callable[[], object], *, patient: bool) -> bool | None:
    try:
        call()
    except ClientError as error:
        if patient and code_of(error) in THROTTLED:
            return None
        if code_of(error) != GONE:
            raise
    return True
