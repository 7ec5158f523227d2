"""The sandbox's EventBridge Scheduler, by plain boto3: it refuses what AWS refuses, and acts when it is time."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import boto3
import pytest
from botocore.exceptions import ClientError

from launcher.aws import policy
from launcher.sandbox.client import SandboxClient
from launcher.sandbox.cloud import account

ROLE = "arn:aws:iam::123456789012:role/gpurun-scheduler"
TERMINATE = "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances"


@pytest.fixture(scope="module")
def client(sandbox_none):
    made = {}

    def of(service: str):
        if service not in made:
            made[service] = boto3.client(
                service,
                region_name="us-east-1",
                endpoint_url=sandbox_none.endpoint_url,
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
        return made[service]

    return of


@pytest.fixture
def scheduler(client):
    yield client("scheduler")
    for row in client("scheduler").list_schedules()["Schedules"]:
        client("scheduler").delete_schedule(Name=row["Name"], GroupName=row["GroupName"])


@pytest.fixture
def torment(sandbox_none):
    it = SandboxClient(sandbox_none.endpoint_url)
    yield it
    it.clear_faults()


@pytest.fixture
def slow_groups(torment):
    """Have schedule groups take so long to go."""
    usual = torment.settings()["group_deleting_s"]
    yield lambda seconds: torment.settings(group_deleting_s=seconds)
    torment.settings(group_deleting_s=usual)


@pytest.fixture
def machine(client):
    tags = [{"Key": "gpurun:run", "Value": "r-1"}]
    answer = client("ec2").run_instances(
        ImageId=client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"],
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    instance_id = answer["Instances"][0]["InstanceId"]
    yield instance_id
    client("ec2").terminate_instances(InstanceIds=[instance_id])


def at(in_s: float, zone: str = "UTC") -> str:
    return f"at({datetime.now(ZoneInfo(zone)) + timedelta(seconds=in_s):%Y-%m-%dT%H:%M:%S})"


def asked(expression: str, *instance_ids: str, **changes) -> dict:
    target = {"Arn": TERMINATE, "RoleArn": ROLE, "Input": json.dumps({"InstanceIds": list(instance_ids)})}
    base = {
        "Name": "end",
        "ScheduleExpression": expression,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": target | changes.pop("target", {}),
    }
    return base | changes


def refused(call, **parameters) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def wait_for(seen, limit_s: float = 30) -> None:
    limit = time.monotonic() + limit_s
    while not seen():
        assert time.monotonic() < limit
        time.sleep(0.05)


def gone(client, instance_id: str) -> bool:
    answer = client("ec2").describe_instances(InstanceIds=[instance_id])
    return answer["Reservations"][0]["Instances"][0]["State"]["Name"] == "terminated"


def attempts(torment, since: int = 0) -> list[dict]:
    return [call for call in torment.journal() if call["access_key"] == "ASIASANDBOXSCHEDULER"][since:]


def test_the_role_is_the_one_that_doctor_prints(client):
    role = client("iam").get_role(RoleName="gpurun-scheduler")["Role"]
    assert role["AssumeRolePolicyDocument"] == policy.role_trust(account.ACCOUNT)
    inline = client("iam").get_role_policy(RoleName="gpurun-scheduler", PolicyName="gpurun-scheduler")
    assert inline["PolicyDocument"] == policy.role_permission(account.ACCOUNT)


def test_at_acts_and_goes(client, scheduler, machine):
    scheduler.create_schedule(**asked(at(1), machine))
    wait_for(lambda: gone(client, machine))
    wait_for(lambda: scheduler.list_schedules()["Schedules"] == [])


def test_a_time_in_another_zone_and_a_time_that_has_been(client, scheduler, machine):
    scheduler.create_schedule(**asked(at(0, "Asia/Tokyo"), machine, ScheduleExpressionTimezone="Asia/Tokyo"))
    wait_for(lambda: gone(client, machine))


def test_what_is_to_stay_stays_and_what_is_off_does_nothing(client, scheduler, machine, torment):
    before = len(attempts(torment))
    scheduler.create_schedule(**asked(at(0), machine, Name="off", State="DISABLED"))
    scheduler.create_schedule(**asked(at(0), "i-00000000000000000", Name="stays", ActionAfterCompletion="NONE"))
    wait_for(lambda: attempts(torment, before))
    assert sorted(row["Name"] for row in scheduler.list_schedules()["Schedules"]) == ["off", "stays"]
    assert not gone(client, machine)


def test_a_call_that_fails_is_made_again(client, scheduler, machine, torment):
    before = len(attempts(torment))
    busy = {"error": "RequestLimitExceeded"}
    torment.fault({"match": {"action": "TerminateInstances"}, "effect": busy, "times": 2})
    scheduler.create_schedule(**asked(at(0), machine))
    wait_for(lambda: gone(client, machine))
    assert [call["status"] for call in attempts(torment, before)] == [503, 503, 200]


def test_retries_end_and_the_schedule_with_them(client, scheduler, machine, torment):
    before = len(attempts(torment))
    torment.fault({"match": {"action": "TerminateInstances"}, "effect": {"error": "InternalError"}, "times": -1})
    scheduler.create_schedule(**asked(at(0), machine, target={"RetryPolicy": {"MaximumRetryAttempts": 1}}))
    wait_for(lambda: scheduler.list_schedules()["Schedules"] == [])
    assert len(attempts(torment, before)) == 2
    torment.clear_faults()
    assert not gone(client, machine)


def test_expired_credentials_of_users_do_not_stop_it(client, scheduler, machine, torment):
    scheduler.create_schedule(**asked(at(1), machine))
    torment.fault({"effect": {"error": "expired-credentials"}, "times": -1})
    wait_for(lambda: any(machine in str(call["params"]) and call["status"] == 200 for call in attempts(torment)))


def test_the_role_is_held_to_its_policy(client, scheduler, machine):
    """A machine without a run's tag is none of its business."""
    client("ec2").delete_tags(Resources=[machine], Tags=[{"Key": "gpurun:run"}])
    never = {"RetryPolicy": {"MaximumRetryAttempts": 0}}
    scheduler.create_schedule(**asked(at(0), machine, target=never))
    wait_for(lambda: scheduler.list_schedules()["Schedules"] == [])
    assert not gone(client, machine)


def test_a_rate_acts_at_once_and_goes_on(client, scheduler, machine):
    scheduler.create_schedule(**asked("rate(1 minute)", machine))
    wait_for(lambda: gone(client, machine))
    assert len(scheduler.list_schedules()["Schedules"]) == 1


def test_removed_in_time_it_does_nothing(client, scheduler, machine, torment):
    before = len(attempts(torment))
    scheduler.create_schedule(**asked(at(6), machine, Name="removed"))
    scheduler.create_schedule(**asked(at(6), machine, Name="moved"))
    scheduler.delete_schedule(Name="removed")
    scheduler.update_schedule(**asked(at(600), machine, Name="moved"))
    scheduler.create_schedule(**asked(at(7), "i-00000000000000000", Name="later"))
    wait_for(lambda: attempts(torment, before))
    assert not any(machine in str(call["params"]) for call in attempts(torment, before))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ScheduleExpression": "at(2030-01-01T00:00:00.5)"}, "Invalid Schedule Expression at(2030-01-01T00:00:00.5)."),
        ({"ScheduleExpression": "at(2030-02-30T00:00:00)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "at(2030-01-01T00:00:00Z)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "rate(0 minutes)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "rate(5 seconds)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "cron(0 9 * * *)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "cron(0 9 * * MON *)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "cron(0 9 L * ? *)"}, "name the days"),
        ({"ScheduleExpressionTimezone": "Mars/Olympus"}, "Invalid ScheduleExpressionTimezone"),
        ({"Name": "a b"}, "regular expression pattern"),
        ({"Name": "n" * 65}, "regular expression pattern"),
        ({"State": "SLEEPING"}, "enum value set"),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "FlexibleTimeWindow"),
        ({"target": {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f"}}, "universal targets alone"),
        ({"target": {"Arn": "arn:aws:scheduler:::aws-sdk:ec2:describeInstances"}}, "not a supported api"),
        ({"target": {"Arn": "arn:aws:scheduler:::aws-sdk:ec2:endInstances"}}, "not a supported api"),
        ({"target": {"Arn": "arn:aws:scheduler:::aws-sdk:ec3:terminateInstances"}}, "not a supported service"),
        ({"target": {"Input": "[1]"}}, "Invalid Input"),
        ({"target": {"RoleArn": "arn:aws:iam::123456789012:role/nobody"}}, "must allow AWS EventBridge Scheduler"),
        ({"target": {"RetryPolicy": {"MaximumRetryAttempts": 186}}}, "between 0 and 185"),
    ],
)
def test_what_aws_refuses_is_refused(scheduler, changes, words):
    code, message = refused(scheduler.create_schedule, **asked(**{"expression": at(600), **changes}))
    assert code == "ValidationException"
    assert words in message
    assert scheduler.list_schedules()["Schedules"] == []


def test_a_role_that_scheduler_may_not_take(client, scheduler):
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    role = client("iam").create_role(RoleName="ec2-role", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    _, message = refused(scheduler.create_schedule, **asked(at(600), target={"RoleArn": role["Arn"]}))
    assert "assume the role" in message


def test_names_are_taken_once_and_tokens_repeat(scheduler):
    wanted = asked(at(600), "i-00000000000000000", ClientToken="token-1")
    first = scheduler.create_schedule(**wanted)
    assert scheduler.create_schedule(**wanted)["ScheduleArn"] == first["ScheduleArn"]
    assert refused(scheduler.create_schedule, **wanted | {"ClientToken": "token-2"})[0] == "ConflictException"
    assert refused(scheduler.create_schedule, **wanted | {"Description": "other"})[0] == "ConflictException"
    told = scheduler.get_schedule(Name="end")
    assert (told["State"], told["GroupName"], told["ScheduleExpressionTimezone"]) == ("ENABLED", "default", "UTC")
    assert abs((told["CreationDate"] - datetime.now(UTC)).total_seconds()) < 60


def test_what_is_not_there(scheduler):
    missing = {"Name": "never"}
    for call in (scheduler.get_schedule, scheduler.delete_schedule, scheduler.get_schedule_group):
        assert refused(call, **missing)[0] == "ResourceNotFoundException"
    assert refused(scheduler.update_schedule, **asked(at(600)))[0] == "ResourceNotFoundException"
    assert refused(scheduler.create_schedule, **asked(at(600), GroupName="none"))[0] == "ResourceNotFoundException"


def test_groups_have_tags_and_take_their_schedules_with_them(scheduler):
    arn = scheduler.create_schedule_group(Name="mine", Tags=[{"Key": "a", "Value": "b"}])["ScheduleGroupArn"]
    assert refused(scheduler.create_schedule_group, Name="mine")[0] == "ConflictException"
    scheduler.tag_resource(ResourceArn=arn, Tags=[{"Key": "c", "Value": "d"}])
    scheduler.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "c", "Value": "d"}]
    assert scheduler.list_schedule_groups()["ScheduleGroups"][0]["Name"] == "default"
    for number in range(3):
        scheduler.create_schedule(**asked(at(600), Name=f"end-{number}", GroupName="mine"))
    pages = scheduler.get_paginator("list_schedules").paginate(GroupName="mine", PaginationConfig={"PageSize": 2})
    assert [row["Name"] for page in pages for row in page["Schedules"]] == ["end-0", "end-1", "end-2"]
    assert scheduler.list_schedules(NamePrefix="end-1")["Schedules"][0]["Target"] == {"Arn": TERMINATE}
    scheduler.delete_schedule_group(Name="mine")
    wait_for(lambda: scheduler.list_schedules()["Schedules"] == [])
    assert refused(scheduler.get_schedule_group, Name="mine")[0] == "ResourceNotFoundException"


def test_a_group_that_is_being_deleted_is_there_and_its_schedules_act(client, scheduler, slow_groups, machine):
    slow_groups(4.0)
    scheduler.create_schedule_group(Name="going")
    wanted = asked(at(2), machine, GroupName="going", ActionAfterCompletion="NONE")
    scheduler.create_schedule(**wanted)
    scheduler.delete_schedule_group(Name="going")
    assert scheduler.get_schedule_group(Name="going")["State"] == "DELETING"
    states = {row["Name"]: row["State"] for row in scheduler.list_schedule_groups()["ScheduleGroups"]}
    assert states == {"default": "ACTIVE", "going": "DELETING"}
    assert refused(scheduler.create_schedule_group, Name="going")[0] == "ConflictException"
    assert refused(scheduler.create_schedule, **wanted | {"Name": "late"})[0] == "ConflictException"
    assert refused(scheduler.update_schedule, **wanted)[0] == "ConflictException"
    scheduler.delete_schedule_group(Name="going")
    wait_for(lambda: gone(client, machine))
    assert scheduler.get_schedule(Name="end", GroupName="going")["State"] == "ENABLED"
    wait_for(lambda: all(row["Name"] != "going" for row in scheduler.list_schedule_groups()["ScheduleGroups"]))
    assert scheduler.list_schedules()["Schedules"] == []
    scheduler.create_schedule_group(Name="going")
    assert scheduler.list_schedules(GroupName="going")["Schedules"] == []
    assert scheduler.get_schedule_group(Name="going")["State"] == "ACTIVE"
    slow_groups(0.0)
    scheduler.delete_schedule_group(Name="going")


def test_schedules_that_are_deleted_first_do_not_act(client, scheduler, slow_groups, machine, torment):
    slow_groups(3.0)
    before = len(attempts(torment))
    scheduler.create_schedule_group(Name="clean")
    scheduler.create_schedule(**asked(at(2), machine, GroupName="clean"))
    scheduler.delete_schedule_group(Name="clean")
    scheduler.delete_schedule(Name="end", GroupName="clean")
    wait_for(lambda: all(row["Name"] != "clean" for row in scheduler.list_schedule_groups()["ScheduleGroups"]))
    assert attempts(torment, before) == []
    assert not gone(client, machine)
