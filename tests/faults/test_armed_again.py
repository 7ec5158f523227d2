"""The lifeline's second layer follows a run from machine to machine. Who looks on is plain boto3."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from tests.faults.conftest import counting_job


@pytest.fixture(scope="module")
def observer(cloud) -> Any:
    """Makes clients that belong to nobody's launcher."""
    keys = {"aws_access_key_id": "observer", "aws_secret_access_key": "observer"}
    return lambda service: boto3.client(service, region_name="us-east-1", endpoint_url=cloud.endpoint_url, **keys)


def _schedules(scheduler: Any, run_id: str) -> dict[str, dict]:
    """The run's schedules by the one machine that each ends."""
    rows = scheduler.list_schedules(GroupName="gpurun")["Schedules"]
    found = [scheduler.get_schedule(GroupName="gpurun", Name=row["Name"]) for row in rows if run_id in row["Name"]]
    machines = [json.loads(each["Target"]["Input"])["InstanceIds"] for each in found]
    return {instance_id: each for (instance_id,), each in zip(machines, found, strict=True)}


def _machines(ec2: Any, run_id: str) -> dict[str, dict]:
    """The run's machines, whatever their state, by their segment."""
    found = ec2.describe_instances(Filters=[{"Name": "tag:gpurun:run", "Values": [run_id]}])["Reservations"]
    machines = [machine for one in found for machine in one["Instances"]]
    return {_tags(machine)["gpurun:segment"]: machine for machine in machines}


def _tags(machine: dict) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in machine["Tags"]}


def _deadline(machine: dict) -> datetime:
    """What the machine's tag tells."""
    return datetime.fromisoformat(_tags(machine)["gpurun:deadline"])


def _fires_at(schedule: dict) -> datetime:
    assert schedule["State"] == "ENABLED"
    assert schedule["ScheduleExpressionTimezone"] == "UTC"
    return datetime.strptime(schedule["ScheduleExpression"], "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC)


def test_the_second_machine_of_a_run_is_armed_too_and_nothing_is_armed_after_its_end(laptop, torment, observer):
    ec2, scheduler = observer("ec2"), observer("scheduler")
    job = counting_job(laptop, 100, 0.1, 10, starts=2)
    process = laptop.start("launch", "--sandbox", job)
    laptop.wait_for_event("checkpoint.saved")
    (run,) = laptop.runs()
    run_id, first = run["run_id"], run["instance_id"]
    assert list(_schedules(scheduler, run_id)) == [first]

    torment.interrupt(first, in_s=0)
    laptop.wait_for_event("job.started", segment=2, timeout_s=60)
    machines = _machines(ec2, run_id)
    second = machines["2"]["InstanceId"]
    assert second != first
    armed = _schedules(scheduler, run_id)
    fires_at = _fires_at(armed[second])
    assert timedelta(0) <= fires_at - _deadline(machines["2"]) <= timedelta(seconds=1)
    assert _deadline(machines["2"]) <= _deadline(machines["1"]), "a deadline never moves later"
    assert armed[second]["Target"]["Arn"].endswith(":ec2:terminateInstances")
    assert armed[second]["Target"]["RoleArn"].endswith(":role/gpurun-scheduler")

    assert process.wait(90) == 0, laptop.stderr()
    assert _schedules(scheduler, run_id) == {}
    assert {machine["State"]["Name"] for machine in _machines(ec2, run_id).values()} == {"terminated"}
