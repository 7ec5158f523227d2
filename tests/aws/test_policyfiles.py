"""The policies as files, and the commands that put them in force, run for real against the sandbox's IAM."""

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from launcher import checkup
from launcher.aws import killswitch, permissions, policy, policyfiles
from launcher.aws.client import Aws, Identity
from launcher.errors import SpecError
from launcher.sandbox.client import SandboxClient

DOCS = Path(__file__).parents[2] / "docs"
ACCOUNT = "123456789012"


def identity(arn: str) -> Identity:
    return Identity(account_id=ACCOUNT, arn=arn)


USER = identity(f"arn:aws:iam::{ACCOUNT}:user/team/ann")


@pytest.fixture
def torment(sandbox_none):
    it = SandboxClient(sandbox_none.endpoint_url)
    yield it
    it.clear_faults()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("iam-scheduler-trust.json", policy.role_trust(ACCOUNT)),
        ("iam-scheduler-policy.json", policy.role_permission(ACCOUNT)),
        ("iam-bake-policy.json", policy.bake()),
        ("iam-deploy-policy.json", policy.deploy()),
        ("iam-outputs-policy.json", policy.outputs("YOUR-BUCKET", "YOUR-PREFIX")),
    ],
)
def test_the_files_in_docs_are_the_policies(name, content):
    assert (DOCS / name).read_text() == policy.text(content)


def test_the_files_are_the_policies(tmp_path):
    policyfiles.write(tmp_path / "new" / "folder", USER)
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {
        "gpurun-policy.json",
        "gpurun-scheduler-trust.json",
        "gpurun-scheduler-policy.json",
    }
    assert (tmp_path / "new" / "folder" / "gpurun-policy.json").read_text() == policy.text()


def test_what_images_need_is_a_policy_of_its_own(tmp_path):
    lines = policyfiles.write(tmp_path, USER, bake=True)
    assert (tmp_path / "gpurun-bake-policy.json").read_text() == policy.text(policy.bake())
    assert any("create-policy --policy-name gpurun-bake" in line for line in lines)
    launch = policy.text()
    assert "CreateImage" not in launch
    assert "CopyImage" not in launch


def test_what_deployments_need_is_a_policy_of_its_own(tmp_path):
    lines = policyfiles.write(tmp_path, USER, deploy=True)
    assert (tmp_path / "gpurun-deploy-policy.json").read_text() == policy.text(policy.deploy())
    assert any("create-policy --policy-name gpurun-deploy" in line for line in lines)
    assert any(line.startswith("# gpurun-deploy lets its holder make roles") for line in lines)
    assert "CreateRole" not in policy.text()


def test_the_role_may_end_machines_of_runs_and_nothing_else():
    (statement,) = policy.role_permission(ACCOUNT)["Statement"]
    assert statement["Action"] == "ec2:TerminateInstances"
    assert statement["Condition"] == {"Null": {"aws:ResourceTag/gpurun:run": "false"}}


def test_only_the_one_role_may_be_passed_and_to_scheduler_alone():
    passing = [each for each in policy.document()["Statement"] if each["Action"] == "iam:PassRole"]
    assert passing == [
        {
            "Sid": "LendRole",
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": "arn:aws:iam::*:role/gpurun-scheduler",
            "Condition": {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}},
        }
    ]


def test_all_of_scheduler_that_is_called_is_granted():
    source = Path(killswitch.__file__).read_text()
    granted = {action for each in policy.document()["Statement"] for action in _actions(each)}
    for called, action in {
        "create_schedule(": "CreateSchedule",
        "update_schedule(": "UpdateSchedule",
        "get_schedule(": "GetSchedule",
        "delete_schedule(": "DeleteSchedule",
        'get_paginator("list_schedules")': "ListSchedules",
        "create_schedule_group(": "CreateScheduleGroup",
    }.items():
        assert called in source
        assert f"scheduler:{action}" in granted


def _actions(statement: dict) -> list[str]:
    return [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]


@pytest.mark.parametrize(
    ("arn", "line"),
    [
        (USER.arn, "aws iam attach-user-policy --user-name ann --policy-arn arn:aws:iam::123456789012:policy/gpurun"),
        (
            "arn:aws-us-gov:sts::123456789012:assumed-role/launcher/session",
            "aws iam attach-role-policy --role-name launcher --policy-arn arn:aws-us-gov:iam::",
        ),
        ("arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Dev_1/ann", "# you come through IAM Identity Center"),
        ("arn:aws:iam::123456789012:root", "# you are arn:aws:iam::123456789012:root"),
    ],
)
def test_the_policy_goes_to_whoever_asks(tmp_path, arn, line):
    assert any(each.startswith(line) for each in policyfiles.write(tmp_path, identity(arn)))
    partition = arn.split(":")[1]
    assert f'"arn:{partition}:ec2:*:*:instance/*"' in (tmp_path / "gpurun-policy.json").read_text()


def test_a_bucket_for_outputs(tmp_path):
    lines = policyfiles.write(tmp_path, USER, "s3://my-bucket/a/b/")
    assert any("gpurun-outputs-policy.json" in line for line in lines)
    statements = json.loads((tmp_path / "gpurun-outputs-policy.json").read_text())["Statement"]
    assert [each["Resource"] for each in statements] == ["arn:aws:s3:::my-bucket", "arn:aws:s3:::my-bucket/a/b/*"]


@pytest.mark.parametrize("bucket", ["", "s3://", "Bad_Name", "s3://good/with*star", "a"])
def test_what_is_no_bucket(tmp_path, bucket):
    with pytest.raises(SpecError):
        policyfiles.write(tmp_path, USER, bucket)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError) as caught:
        policyfiles.write(tmp_path / "file" / "below", USER)
    assert caught.value.hint


@pytest.mark.slow
def test_the_commands_make_a_role_that_ends_machines(sandbox_none, tmp_path):
    """From an account without it: doctor says so, its commands are run as they stand, and the switch can be set."""
    aws = Aws(sandbox_none.account)
    aws.iam.delete_role_policy(RoleName=killswitch.ROLE, PolicyName=killswitch.ROLE)
    aws.iam.delete_role(RoleName=killswitch.ROLE)
    assert permissions.switch_role(aws) is False
    lines = policyfiles.write(tmp_path / "a folder", aws.identity())
    for line in lines:
        if "aws iam create-role" in line or "put-role-policy" in line:
            environment = {
                "PATH": os.environ["PATH"],
                "AWS_CONFIG_FILE": str(sandbox_none.account.config_file),
                "AWS_SHARED_CREDENTIALS_FILE": str(sandbox_none.account.credentials_file),
                "AWS_PROFILE": str(sandbox_none.account.profile),
            }
            subprocess.run(["sh", "-c", line], env=environment, check=True, capture_output=True)
    assert permissions.switch_role(aws) is True
    killswitch.arm(
        aws,
        run_id="r-9",
        segment=1,
        instance_ids=["i-0123456789abcdef0"],
        deadline=datetime.now(UTC) + timedelta(hours=1),
        role_arn=killswitch.role(aws),
    )
    killswitch.disarm(aws, run_id="r-9")


def test_nothing_is_made_by_looking(sandbox_none):
    aws = Aws(sandbox_none.account)
    assert all(probe.allowed for probe in permissions.probe_switch(aws))
    assert killswitch.find(aws) == []
    (finding,) = checkup.kill_switch(aws)
    assert finding.verdict == "ok"


def test_what_is_denied_is_named(sandbox_none, torment):
    denied = {"match": {"action": "CreateSchedule"}, "effect": {"error": "AccessDeniedException"}, "times": -1}
    torment.fault(denied)
    (finding,) = checkup.kill_switch(Aws(sandbox_none.account))
    assert (finding.verdict, finding.text) == ("warn", "scheduler:CreateSchedule is denied")
    assert finding.fix


def test_a_role_that_may_not_be_looked_at(sandbox_none, torment):
    torment.fault({"match": {"action": "GetRole"}, "effect": {"error": "AccessDenied", "status": 403}, "times": -1})
    (finding,) = checkup.kill_switch(Aws(sandbox_none.account))
    assert finding.verdict == "warn"
    assert "iam:GetRole" in finding.text
