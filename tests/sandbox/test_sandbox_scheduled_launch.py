"""Schedules that launch machines by themselves: what their role must permit, and what a retry does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.conftest import Region

ACCOUNT = "123456789012"
FLEET = "arn:aws:scheduler:::aws-sdk:ec2:createFleet"
RUN = "arn:aws:scheduler:::aws-sdk:ec2:runInstances"
LAUNCHER, MACHINE = "launcher", "machine"
SCHEDULER_KEY = "ASIASANDBOXSCHEDULER"
TAG = {"Key": "gpurun:schedule", "Value": "digits"}


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def ec2(*kinds: str) -> list[str]:
    return [f"arn:aws:ec2:*:*:{kind}/*" for kind in kinds]


def permits() -> dict[str, dict[str, Any]]:
    """Statements by what each is for, as narrow as a real deployment's."""
    asked = {"StringEquals": {"aws:RequestTag/gpurun:schedule": "digits"}}
    planned = {"StringEquals": {**asked["StringEquals"], "ec2:InstanceType": ["t3.micro", "t3.small"]}}
    of_template = {"ArnLike": {"ec2:LaunchTemplate": "arn:aws:ec2:*:*:launch-template/lt-*"}}
    at_birth = {"StringEquals": {"ec2:CreateAction": ["CreateFleet", "RunInstances"]}}
    passed = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    only = {"ForAllValues:StringEquals": {"aws:TagKeys": ["gpurun:schedule", "fired", "attempt", "execution", "by"]}}
    rows: dict[str, tuple[str, list[str], dict[str, Any]]] = {
        "fleet": ("ec2:CreateFleet", ec2("fleet"), asked),
        "template of the fleet": ("ec2:CreateFleet", ec2("launch-template"), {}),
        "instance": ("ec2:RunInstances", ec2("instance"), planned | of_template),
        "volume": ("ec2:RunInstances", ec2("volume"), of_template),
        "interface": ("ec2:RunInstances", ec2("network-interface"), {}),
        "image": ("ec2:RunInstances", ["arn:aws:ec2:*::image/*"], {}),
        "subnet": ("ec2:RunInstances", ec2("subnet"), {}),
        "group": ("ec2:RunInstances", ec2("security-group"), {}),
        "template": ("ec2:RunInstances", ec2("launch-template"), {}),
        "tags": ("ec2:CreateTags", ec2("instance", "fleet"), at_birth | only),
        "role": ("iam:PassRole", [f"arn:aws:iam::{ACCOUNT}:role/{MACHINE}"], passed),
    }
    return {
        name: {"Effect": "Allow", "Action": action, "Resource": resources, "Condition": condition}
        for name, (action, resources, condition) in rows.items()
    }


@pytest.fixture(scope="module", autouse=True)
def roles(sandbox_none, clients) -> Iterator[None]:
    iam = Region(sandbox=sandbox_none, admin=None, clients=clients).client("iam")
    iam.create_role(RoleName=LAUNCHER, AssumeRolePolicyDocument=trust("scheduler.amazonaws.com"))
    iam.create_role(RoleName=MACHINE, AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
    iam.create_instance_profile(InstanceProfileName=MACHINE)
    iam.add_role_to_instance_profile(InstanceProfileName=MACHINE, RoleName=MACHINE)
    yield
    iam.delete_role_policy(RoleName=LAUNCHER, PolicyName="all")
    iam.remove_role_from_instance_profile(InstanceProfileName=MACHINE, RoleName=MACHINE)
    iam.delete_instance_profile(InstanceProfileName=MACHINE)
    for name in (LAUNCHER, MACHINE):
        iam.delete_role(RoleName=name)


@pytest.fixture
def may(region) -> Callable[..., None]:
    """Give the schedule's role all that it needs, but for some."""

    def put(*without: str) -> None:
        kept = [statement for name, statement in permits().items() if name not in without]
        document = json.dumps({"Version": "2012-10-17", "Statement": kept})
        region.client("iam").put_role_policy(RoleName=LAUNCHER, PolicyName="all", PolicyDocument=document)

    return put


@pytest.fixture
def scheduler(region):
    region.admin.clear_journal()
    yield region.client("scheduler")
    for row in region.client("scheduler").list_schedules()["Schedules"]:
        region.client("scheduler").delete_schedule(Name=row["Name"], GroupName=row["GroupName"])


@pytest.fixture
def template(region) -> str:
    return region.template(
        InstanceType="t3.micro",
        IamInstanceProfile={"Name": MACHINE},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [TAG]}],
    )


def target(template: str, **more: Any) -> dict[str, Any]:
    tags = [
        TAG,
        {"Key": "fired", "Value": "<aws.scheduler.scheduled-time>"},
        {"Key": "attempt", "Value": "<aws.scheduler.attempt-number>"},
        {"Key": "execution", "Value": "<aws.scheduler.execution-id>"},
        {"Key": "by", "Value": "<aws.scheduler.schedule-arn>"},
    ]
    spec = {"LaunchTemplateId": template, "Version": "$Default"}
    given = {
        "Type": "instant",
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": spec}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"},
        "TagSpecifications": [
            {"ResourceType": "fleet", "Tags": [TAG]},
            {"ResourceType": "instance", "Tags": tags},
        ],
        **more,
    }
    return {"Arn": FLEET, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{LAUNCHER}", "Input": json.dumps(given)}


def fire(scheduler: Any, wanted: dict[str, Any], retries: int = 0) -> str:
    """Make it due at once; when that is, as AWS writes it."""
    due = datetime.now(UTC) - timedelta(seconds=1)
    scheduler.create_schedule(
        Name="retrain",
        ScheduleExpression=f"at({due:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        ActionAfterCompletion="DELETE",
        Target={**wanted, "RetryPolicy": {"MaximumRetryAttempts": retries}},
    )
    limit = time.monotonic() + 30
    while scheduler.list_schedules()["Schedules"]:
        assert time.monotonic() < limit
        time.sleep(0.02)
    return f"{due:%Y-%m-%dT%H:%M:%SZ}"


def attempts(region: Region) -> list[dict[str, Any]]:
    return [call for call in region.admin.journal() if call["access_key"] == SCHEDULER_KEY]


def launched(region: Region) -> list[dict[str, Any]]:
    found = region.instances(("tag:gpurun:schedule", "digits"))
    return [each for each in found if each["State"]["Name"] not in {"terminated", "shutting-down"}]


def test_it_launches_with_the_context_filled_in(region, scheduler, template, may):
    may()
    due = fire(scheduler, target(template))
    (machine,) = launched(region)
    tags = {tag["Key"]: tag["Value"] for tag in machine["Tags"]}
    assert (tags["fired"], tags["attempt"]) == (due, "1")
    assert tags["by"] == f"arn:aws:scheduler:us-east-1:{ACCOUNT}:schedule/default/retrain"
    assert len(tags["execution"]) == 16
    assert machine["IamInstanceProfile"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:instance-profile/{MACHINE}"


@pytest.mark.parametrize("missing", ["fleet", "template of the fleet"])
def test_a_fleet_that_is_denied_is_tried_again_and_given_up(region, scheduler, template, may, missing):
    may(missing)
    fire(scheduler, target(template), retries=1)
    made = attempts(region)
    assert [call["status"] for call in made] == [403, 403] or [call["status"] for call in made] == [400, 400]
    assert all("is not authorized to perform: ec2:CreateFleet on resource" in call["refused"] for call in made)
    assert launched(region) == []
    assert "is given up after 2 attempts" in (region.sandbox.state / "log").read_text()


@pytest.mark.parametrize(
    ("missing", "action"),
    [
        ("instance", "ec2:RunInstances"),
        ("volume", "ec2:RunInstances"),
        ("interface", "ec2:RunInstances"),
        ("image", "ec2:RunInstances"),
        ("subnet", "ec2:RunInstances"),
        ("group", "ec2:RunInstances"),
        ("template", "ec2:RunInstances"),
        ("role", "iam:PassRole"),
    ],
)
def test_a_launch_that_is_denied_is_among_the_fleets_errors(region, scheduler, template, may, missing, action):
    may(missing)
    group = {"SecurityGroupIds": [region.group(f"g-{time.monotonic_ns()}")]}
    data = {"InstanceType": "t3.micro", "IamInstanceProfile": {"Name": MACHINE}, **group}
    fire(scheduler, target(region.template(**data)), retries=1)
    (call,) = attempts(region)
    assert call["status"] == 200
    assert f"is not authorized to perform: {action} on resource" in call["refused"]
    assert launched(region) == []
    assert "answered, and failed in part" in (region.sandbox.state / "log").read_text()


def test_tags_take_a_permission_of_their_own(region, scheduler, template, may):
    may("tags")
    fire(scheduler, target(template))
    assert "ec2:CreateTags" in attempts(region)[0]["refused"]
    assert launched(region) == []


def test_a_reply_that_was_lost_launches_nothing_twice(region, scheduler, template, may):
    """Its token must be made of what stays the same over retries: the time that it was due."""
    may()
    region.admin.fault({"match": {"action": "CreateFleet"}, "effect": {"drop": "after"}, "times": 1})
    plain = [{"ResourceType": "fleet", "Tags": [TAG]}]
    token = "digits-<aws.scheduler.scheduled-time>"
    fire(scheduler, target(template, ClientToken=token, TagSpecifications=plain), retries=3)
    assert [call["status"] for call in attempts(region)] == [None, 200]
    assert len(launched(region)) == 1


def test_each_attempt_has_its_number_and_an_id(region, scheduler, template, may):
    may()
    busy = {"error": "RequestLimitExceeded"}
    region.admin.fault({"match": {"action": "CreateFleet"}, "effect": busy, "times": 1})
    fire(scheduler, target(template, ClientToken="<aws.scheduler.execution-id>"), retries=3)
    first, second = (call["params"]["ClientToken"] for call in attempts(region))
    assert first != second
    (machine,) = launched(region)
    assert {"Key": "attempt", "Value": "2"} in machine["Tags"]


def test_run_instances_as_a_target(region, scheduler, template, may):
    may()
    given = {
        "MinCount": 1,
        "MaxCount": 1,
        "LaunchTemplate": {"LaunchTemplateId": template},
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [TAG]}],
    }
    wanted = {**target(template), "Arn": RUN, "Input": json.dumps(given)}
    fire(scheduler, wanted)
    assert len(launched(region)) == 1
    may("role")
    fire(scheduler, wanted)
    assert len(launched(region)) == 1
    assert "iam:PassRole" in attempts(region)[-1]["refused"]


def test_a_profile_that_is_not_there_or_has_no_role(region):
    iam = region.client("iam")
    iam.create_instance_profile(InstanceProfileName="bare")
    words = "Value (none) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
    for profile, said in (
        ({"Name": "none"}, words),
        ({"Arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/none"}, "Invalid IAM Instance Profile ARN"),
        ({"Name": "bare"}, "has no associated IAM Roles"),
    ):
        with pytest.raises(ClientError) as caught:
            region.run(IamInstanceProfile=profile)
        error = caught.value.response["Error"]
        assert error["Code"] == "InvalidParameterValue"
        assert said in error["Message"]
    made = region.fleet(region.template(IamInstanceProfile={"Name": "none"}), [{"InstanceType": "t3.micro"}])
    assert made["Instances"] == []
    assert [each["ErrorCode"] for each in made["Errors"]] == ["InvalidParameterValue"]
    iam.delete_instance_profile(InstanceProfileName="bare")


def test_machines_of_another_type_are_not_launched(region, scheduler, may):
    may()
    data = {"InstanceType": "t3.large", "TagSpecifications": [{"ResourceType": "instance", "Tags": [TAG]}]}
    fire(scheduler, target(region.template(**data)))
    (call,) = attempts(region)
    assert "ec2:RunInstances on resource: arn:aws:ec2:us-east-1:123456789012:instance/*" in call["refused"]
    assert launched(region) == []
