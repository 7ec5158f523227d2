"""Machines after their birth: found, watched and ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws import tags as tagging
from launcher.aws.faults import code_of, fault_of
from launcher.aws.polling import backoff, until
from launcher.domain import Instance, Market
from launcher.errors import HostUnreachable, MachineGone, ProvisionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from types_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef

    from launcher.aws.client import Aws

FIRST_LOOK_S = 0.3
"""No machine comes or goes in less."""
PUBLIC_ADDRESS_GRACE_S = 3.0
"""A network that gives out no public addresses is reached by its private ones; else they come within a second."""


def find(aws: Aws, *, run_id: str) -> list[Instance]:
    """The run's machines in this region, in any state, newest first; by tag alone."""
    found = by_filter(aws, [tagging.of_run(run_id)])
    return sorted(found, key=lambda each: (each.launched_at is not None, each.launched_at), reverse=True)


def describe(aws: Aws, instance_id: str) -> Instance | None:
    """One machine, or `None` when EC2 does not know it (yet, or any more)."""
    found = by_filter(aws, [{"Name": "instance-id", "Values": [instance_id]}])
    return found[0] if found else None


def by_filter(aws: Aws, filters: list[FilterTypeDef]) -> list[Instance]:
    """The machines in this region that pass all filters; unlike an unknown id, none at all is no error."""
    with aws.errors("look up instances"):
        pages = aws.ec2.get_paginator("describe_instances").paginate(Filters=filters)
        return [
            _instance(found, aws.region)
            for page in pages
            for reservation in page["Reservations"]
            for found in reservation["Instances"]
        ]


def wait_running(aws: Aws, instance_id: str, timeout_s: float) -> Instance:
    """Wait until a machine runs and has a public address, or has gone without one for `PUBLIC_ADDRESS_GRACE_S`.

    Raises `HostUnreachable` after `timeout_s` seconds, and `MachineGone` when it ends instead.
    """
    last: Instance | None = None
    running_since: float | None = None

    def ready() -> Instance | None:
        nonlocal last, running_since
        last = describe(aws, instance_id)
        if last is None or last.state == "pending":
            return None
        if last.state != "running":
            raise _died(last)
        running_since = running_since or time.monotonic()
        waited_s = time.monotonic() - running_since
        reachable = last.public_address or (last.private_address and waited_s > PUBLIC_ADDRESS_GRACE_S)
        return last if reachable else None

    instance = until(ready, timeout_s, backoff(first_s=0.4, cap_s=5.0, factor=2.0), first_look_s=FIRST_LOOK_S)
    if instance is None:
        state = last.state if last else "unknown to EC2"
        raise HostUnreachable(
            f"instance {instance_id} is {state} and has no address after {timeout_s:.0f} s",
            hint="gpurun status",
        )
    return instance


def wait_terminated(aws: Aws, instance_ids: Sequence[str], timeout_s: float) -> list[Instance]:
    """Wait until every machine is `terminated`, or unknown to EC2; returns what EC2 last said of them.

    Raises `ProvisionError` after `timeout_s` seconds.
    """
    if not instance_ids:
        return []
    wanted: list[FilterTypeDef] = [{"Name": "instance-id", "Values": list(instance_ids)}]
    last: list[Instance] = []

    def gone() -> list[Instance] | None:
        last[:] = by_filter(aws, wanted)
        return last if all(each.gone for each in last) else None

    # A machine takes from half a minute to two to end.
    ended = until(gone, timeout_s, backoff(first_s=0.4, cap_s=10.0, factor=2.0), first_look_s=FIRST_LOOK_S)
    if ended is None:
        standing = ", ".join(f"{each.instance_id} ({each.state})" for each in last if not each.gone)
        raise ProvisionError(f"not terminated after {timeout_s:.0f} s: {standing}", hint="gpurun gc")
    return ended


def terminate(aws: Aws, instance_ids: Sequence[str]) -> None:
    """End machines; those that EC2 does not know, or that have ended, are no error."""
    if not instance_ids:
        return
    with aws.errors("terminate the instance"):
        try:
            aws.ec2.terminate_instances(InstanceIds=list(instance_ids))
        except ClientError as error:
            if code_of(error) != "InvalidInstanceID.NotFound":
                raise
            # One unknown id, and EC2 ends none of the others.
            known = by_filter(aws, [{"Name": "instance-id", "Values": list(instance_ids)}])
            if known:
                aws.ec2.terminate_instances(InstanceIds=[each.instance_id for each in known])


def console_output(aws: Aws, instance_id: str) -> str:
    """What the machine's console printed, as far as EC2 has it; empty before it has any."""
    with aws.errors("read the console"):
        try:
            answer = aws.ec2.get_console_output(InstanceId=instance_id, Latest=True)
        except ClientError as error:
            if code_of(error) not in {"UnsupportedOperation", "InvalidParameterCombination"}:
                raise
            answer = aws.ec2.get_console_output(InstanceId=instance_id)  # types before Nitro keep no latest page
    return answer.get("Output") or ""


def _died(instance: Instance) -> MachineGone:
    code = instance.state_reason.partition(":")[0]
    fault = fault_of(code, instance.state_reason)
    return MachineGone(
        f"instance {instance.instance_id} ({instance.instance_type} in {instance.zone}) is {instance.state} "
        f"before it could be used: {instance.state_reason or 'EC2 gives no reason'}",
        hint=fault.advice,
        reason=code,
    )


def _instance(found: InstanceTypeDef, region: str) -> Instance:
    reason = found.get("StateReason", {})
    message = reason.get("Message", "")
    code = reason.get("Code", "")
    return Instance(
        instance_id=found["InstanceId"],
        instance_type=found["InstanceType"],
        region=region,
        zone=found.get("Placement", {}).get("AvailabilityZone", ""),
        market=Market.SPOT if found.get("InstanceLifecycle") == "spot" else Market.ON_DEMAND,
        state=found["State"]["Name"],
        public_address=found.get("PublicIpAddress") or None,
        private_address=found.get("PrivateIpAddress") or None,
        launched_at=found.get("LaunchTime"),
        state_reason=message if message.startswith(code) else f"{code}: {message}",
        tags=tagging.to_dict(found.get("Tags")),
    )
