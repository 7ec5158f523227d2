"""The roles of a deployment, as data: what they may touch is the deployment's own, and so is what they are called."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.aws import killswitch
from launcher.deploy import names, permits

REGIONS = sorted(
    {
        region
        for partition in boto3.Session().get_available_partitions()
        for region in boto3.Session().get_available_regions("ec2", partition)
    }
)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,40}", fullmatch=True)
WHOSE = permits.Whose(name="digits", region="eu-west-1", account_id="123456789012", partition="aws")
ALLOWED = {"ec2:CreateFleet", "ec2:RunInstances", "ec2:CreateTags", "iam:PassRole", "iam:CreateServiceLinkedRole"}


def machine(**changes):
    asked = {"bucket": "bucket", "prefix": "team/weights", "weights": "digits", "data": ("rows", "new/")}
    return permits.machine(WHOSE, **asked | changes)


def statements(document) -> list[dict]:
    return document["Statement"]


def listed(value) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def allows(document, action: str, resource: str) -> bool:
    return any(
        action in listed(each["Action"]) and any(fnmatchcase(resource, one) for one in listed(each["Resource"]))
        for each in statements(document)
    )


@settings(max_examples=300)
@given(one=st.tuples(NAMES, st.sampled_from(REGIONS)), other=st.tuples(NAMES, st.sampled_from(REGIONS)))
def test_names_are_short_enough_and_no_two_alike(one, other):
    assert len(names.group(one[0])) <= 64
    assert len(names.template(one[0], "0" * 64)) <= 128
    assert len(killswitch.prefix_of(names.run_id(one[0]))) + 6 <= 64
    roles = {role for name, region in {one, other} for role in names.roles(name, region)}
    assert len(roles) == 2 * len({one, other})
    assert all(len(role) <= 64 and role.startswith("gpurun-schedule-") for role in roles)


def test_every_name_of_the_longest_kind_is_told_apart():
    long = [f"{'a' * 39}{tail}" for tail in ("-1", "-2", "aa")]
    made = [role for name in long for region in REGIONS for role in names.roles(name, region)]
    assert len(set(made)) == len(made) == 6 * len(REGIONS)


@pytest.mark.parametrize(
    "document",
    [
        permits.launch(WHOSE, template_id="lt-1", image_id="ami-1", instance_types=["t3.large"]),
        machine(),
        machine(data=None, prefix=""),
    ],
)
def test_nothing_is_permitted_on_everything(document):
    for each in statements(document):
        assert all("*" not in action for action in listed(each["Action"]))
        for resource in listed(each["Resource"]):
            if each["Action"] == "ec2:DescribeInstances":  # which knows no resources
                assert resource == "*"
                continue
            assert resource != "*"
            assert resource.startswith("arn:aws:")
            assert (
                WHOSE.account_id in resource
                or resource.startswith(("arn:aws:s3:::bucket", "arn:aws:s3:::rows"))
                or (resource == "arn:aws:ec2:eu-west-1:*:image/ami-1")
            )
    assert len({each["Sid"] for each in statements(document)}) == len(statements(document))
    assert len(json.dumps(document, separators=(",", ":"))) <= 10_240  # of inline policies of a role


def test_the_launching_role_makes_what_carries_the_schedules_tag_and_ends_nothing():
    document = permits.launch(WHOSE, template_id="lt-1", image_id="ami-1", instance_types=["t3.large"])
    assert {action for each in statements(document) for action in listed(each["Action"])} == ALLOWED
    for each in statements(document):
        made = [one for one in listed(each["Resource"]) if one.endswith((":instance/*", ":fleet/*", ":volume/*"))]
        if made:
            asked = each["Condition"]["StringEquals"]
            assert asked.get("aws:RequestTag/gpurun:run") == "schedule-digits" or asked == {
                "ec2:CreateAction": ["CreateFleet", "RunInstances"]
            }
    arn = "arn:aws:ec2:eu-west-1:123456789012:launch-template"
    (machines,) = [each for each in statements(document) if each["Sid"] == "MakeMachine"]
    assert machines["Condition"]["StringEquals"]["ec2:InstanceType"] == ["t3.large"]
    assert machines["Condition"]["ArnEquals"] == {"ec2:LaunchTemplate": f"{arn}/lt-1"}
    assert allows(document, "ec2:CreateFleet", f"{arn}/lt-1")
    assert not allows(document, "ec2:CreateFleet", f"{arn}/lt-2")
    (lent,) = [each for each in statements(document) if each["Action"] == "iam:PassRole"]
    assert lent["Resource"] == f"arn:aws:iam::123456789012:role/{names.machine_role('digits', 'eu-west-1')}"
    assert lent["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def test_only_schedules_of_its_own_group_take_the_launching_role():
    (statement,) = statements(permits.launch_trust(WHOSE))
    assert statement["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {
        "aws:SourceAccount": "123456789012",
        "aws:SourceArn": "arn:aws:scheduler:eu-west-1:123456789012:schedule-group/gpurun-schedule-digits",
    }
    (machines,) = statements(permits.machine_trust())
    assert machines["Principal"] == {"Service": "ec2.amazonaws.com"}


def test_a_machine_launches_nothing_and_reaches_no_other_schedule():
    document = machine()
    actions = {action for each in statements(document) for action in listed(each["Action"])}
    assert {action for action in actions if action.startswith("ec2:")} == {"ec2:DescribeInstances"}
    assert {action for action in actions if action.startswith("iam:")} == {"iam:PassRole"}
    times = "arn:aws:scheduler:eu-west-1:123456789012:schedule"
    assert allows(document, "scheduler:CreateSchedule", f"{times}/gpurun-schedule-digits/once-20261121T120000")
    assert not allows(document, "scheduler:UpdateSchedule", f"{times}/gpurun-schedule-digits/cron-1")
    assert not allows(document, "scheduler:CreateSchedule", f"{times}/gpurun-schedule-digits-2/once-1")
    switch = killswitch.prefix_of(names.run_id("digits"))
    assert allows(document, "scheduler:CreateSchedule", f"{times}/gpurun/{switch}7")
    assert not allows(document, "scheduler:DeleteSchedule", f"{times}/gpurun/{killswitch.prefix_of('digits-2026')}1")
    other = killswitch.prefix_of(names.run_id("digits-2"))
    assert not allows(document, "scheduler:DeleteSchedule", f"{times}/gpurun/{other}1")


def test_a_machine_keeps_weights_below_the_prefix_and_reads_its_data():
    document = machine()
    objects = "arn:aws:s3:::bucket"
    assert allows(document, "s3:PutObject", f"{objects}/team/weights/digits/champion/version.json")
    assert not allows(document, "s3:PutObject", f"{objects}/team/weights-of-others/x")
    assert not allows(document, "s3:PutObject", f"{objects}/other")
    assert not allows(document, "s3:PutObject", f"{objects}/team/weights/digits-2/champion/version.json")
    assert not allows(document, "s3:PutObject", f"{objects}/team/weights/.schedules/digits-2/leases/00000001")
    assert allows(document, "s3:GetObject", f"{objects}/team/weights/digits-2/champion/version.json")
    assert allows(document, "s3:GetObject", "arn:aws:s3:::rows/new/rows.csv")
    assert not allows(document, "s3:PutObject", "arn:aws:s3:::rows/new/rows.csv")
    assert allows(document, "s3:ListBucket", "arn:aws:s3:::rows")
    assert allows(document, "s3:DeleteObject", f"{objects}/team/weights/.schedules/digits/ledgers/00000001.db")
    assert not allows(document, "s3:DeleteObject", f"{objects}/team/weights/digits/versions/1.json")
    assert allows(machine(prefix=""), "s3:PutObject", f"{objects}/digits/versions/1.json")
    assert allows(machine(data=("bucket", "rows")), "s3:GetObject", f"{objects}/rows/a.csv")
