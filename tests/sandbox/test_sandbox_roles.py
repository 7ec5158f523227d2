"""A machine that has a role by its instance profile: its metadata, its credentials, and what these may do, by boto3."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from launcher.sandbox import control
from launcher.sandbox.client import SandboxClient
from tests.sandbox.conftest import Region

ROLE = "trainer"
BUCKET = "weights-of-a-team"
TERMINATE = "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances"
OWN_TAG = {"aws:ResourceTag/gpurun:schedule": "digits"}
READER = """
import boto3, json, urllib.request
found = boto3.Session().get_credentials()
print("LENT", json.dumps({"method": found.method, **found.get_frozen_credentials()._asdict()}), flush=True)
s3 = boto3.client("s3", endpoint_url="@URL@", region_name="us-east-1")
s3.put_object(Bucket="@BUCKET@", Key="digits/from-the-machine", Body=b"weights")
for key in ("elsewhere/file", "digits-not/file"):
    try:
        s3.put_object(Bucket="@BUCKET@", Key=key, Body=b"")
        print("WRITTEN", key, flush=True)
    except s3.exceptions.ClientError as error:
        print("REFUSED", key, error.response["Error"]["Code"], flush=True)
base = "http://169.254.169.254"
token = urllib.request.Request(base + "/latest/api/token", method="PUT")
token.add_header("X-aws-ec2-metadata-token-ttl-seconds", "60")
header = {"X-aws-ec2-metadata-token": urllib.request.urlopen(token).read().decode()}
def look(path):
    return urllib.request.urlopen(urllib.request.Request(base + "/latest/meta-data/iam" + path, headers=header)).read()
print("IMDS", json.dumps([look(path).decode() for path in ("/", "/info", "/security-credentials/")]), flush=True)
print("DOCUMENT", json.dumps(json.loads(look("/security-credentials/trainer"))), flush=True)
print("DONE", flush=True)
"""


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def allow(actions: str | list[str], resources: str | list[str], **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources, **more}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


OBJECTS = allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], f"arn:aws:s3:::{BUCKET}/digits/*")
LISTING = allow("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", Condition={"StringLike": {"s3:prefix": "digits/*"}})


@dataclass
class Lent:
    """A machine's role, as seen from the machine's own credentials."""

    region: Any
    instance_id: str
    console: str
    credentials: dict[str, str]

    def client(self, service: str, **config: Any) -> Any:
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.region.sandbox.endpoint_url,
            aws_access_key_id=self.credentials["access_key"],
            aws_secret_access_key=self.credentials["secret_key"],
            aws_session_token=self.credentials["token"],
            config=Config(retries={"total_max_attempts": 1}, **config),
        )

    def may(self, *statements: dict[str, Any]) -> None:
        """From now on its role permits this, and nothing else."""
        iam = self.region.client("iam")
        if statements:
            iam.put_role_policy(RoleName=ROLE, PolicyName="all", PolicyDocument=policy(*statements))
        else:
            iam.delete_role_policy(RoleName=ROLE, PolicyName="all")

    def said(self, word: str) -> list[str]:
        return [line.split(" ", 1)[1] for line in self.console.splitlines() if line.startswith(f"{word} ")]


def refused(call: Callable[..., Any], **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return error["Code"], error.get("Message", "")


@pytest.fixture(scope="module")
def lent(sandbox) -> Iterator[Lent]:
    region = Region(sandbox=sandbox, admin=SandboxClient(sandbox.endpoint_url))
    iam, s3 = region.client("iam"), region.client("s3")
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
    iam.create_instance_profile(InstanceProfileName=ROLE)
    iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)
    iam.put_role_policy(RoleName=ROLE, PolicyName="all", PolicyDocument=policy(OBJECTS, LISTING))
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="elsewhere/file", Body=b"others'")
    program = READER.replace("@URL@", sandbox.endpoint_url).replace("@BUCKET@", BUCKET)
    config = {"runcmd": [["python3", "-c", program]]}
    template = region.template(
        UserData=b"#cloud-config\n" + json.dumps(config).encode(),
        IamInstanceProfile={"Name": ROLE},
        InstanceInitiatedShutdownBehavior="terminate",
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "gpurun:schedule", "Value": "digits"}]}],
    )
    made = region.fleet(template, [{"InstanceType": "t3.micro"}], market="on-demand")
    instance_id = made["Instances"][0]["InstanceIds"][0]
    console = region.wait(lambda: told(region, instance_id), lambda text: "\nDONE" in text or "finished" in text, 60)
    lines = [line for line in console.splitlines() if line.startswith("LENT ")]
    assert lines, console
    yield Lent(region, instance_id, console, json.loads(lines[0].removeprefix("LENT ")))
    region.end_all()
    for client in region.clients.values():
        client.close()


def told(region: Any, instance_id: str) -> str:
    """EC2's console output; boto3 decodes it."""
    return region.ec2.get_console_output(InstanceId=instance_id).get("Output", "")


def test_a_machine_writes_by_its_role_and_is_refused_elsewhere(lent):
    assert lent.credentials["method"] == "iam-role"
    found = lent.region.client("s3").get_object(Bucket=BUCKET, Key="digits/from-the-machine")
    assert found["Body"].read() == b"weights"
    assert lent.said("REFUSED") == ["elsewhere/file AccessDenied", "digits-not/file AccessDenied"]
    assert lent.said("WRITTEN") == []


def test_the_metadata_service_speaks_as_aws_does(lent):
    top, info, names = json.loads(lent.said("IMDS")[0])
    assert (top, names) == ("info\nsecurity-credentials/", ROLE)
    profile = lent.region.client("iam").get_instance_profile(InstanceProfileName=ROLE)["InstanceProfile"]
    assert json.loads(info)["InstanceProfileArn"] == profile["Arn"]
    assert json.loads(info)["InstanceProfileId"] == profile["InstanceProfileId"]
    document = json.loads(lent.said("DOCUMENT")[0])
    keys = ["Code", "LastUpdated", "Type", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"]
    assert sorted(document) == sorted(keys)
    assert (document["Code"], document["Type"]) == ("Success", "AWS-HMAC")
    assert document["AccessKeyId"] == lent.credentials["access_key"]
    ends = datetime.fromisoformat(document["Expiration"])
    assert timedelta(hours=5) < ends - datetime.now(UTC) <= timedelta(hours=6)


def test_ec2_shows_the_profile(lent):
    profile = lent.region.client("iam").get_instance_profile(InstanceProfileName=ROLE)["InstanceProfile"]
    shown = lent.region.instance(lent.instance_id)["IamInstanceProfile"]
    assert shown == {"Arn": profile["Arn"], "Id": profile["InstanceProfileId"]}
    assert lent.region.instances(("iam-instance-profile.arn", profile["Arn"]))
    assert not lent.region.instances(("iam-instance-profile.arn", "arn:aws:iam::123456789012:instance-profile/other"))


def test_who_it_is(lent):
    told = lent.client("sts").get_caller_identity()
    assert told["Arn"] == f"arn:aws:sts::123456789012:assumed-role/{ROLE}/{lent.instance_id}"
    role = lent.region.client("iam").get_role(RoleName=ROLE)["Role"]
    assert told["UserId"] == f"{role['RoleId']}:{lent.instance_id}"


def test_objects(lent):
    lent.may(OBJECTS, LISTING)
    s3 = lent.client("s3")
    s3.put_object(Bucket=BUCKET, Key="digits/a b+c", Body=b"1")
    assert s3.get_object(Bucket=BUCKET, Key="digits/a b+c")["Body"].read() == b"1"
    s3.copy_object(Bucket=BUCKET, Key="digits/copy", CopySource={"Bucket": BUCKET, "Key": "digits/a b+c"})
    from_elsewhere = {"Bucket": BUCKET, "Key": "elsewhere/file"}
    assert refused(s3.copy_object, Bucket=BUCKET, Key="digits/copy", CopySource=from_elsewhere)[0] == "AccessDenied"
    s3.delete_object(Bucket=BUCKET, Key="digits/copy")
    assert refused(s3.get_object, **from_elsewhere)[0] == "AccessDenied"
    assert refused(s3.head_object, **from_elsewhere)[0] == "403"
    assert refused(s3.delete_object, **from_elsewhere)[0] == "AccessDenied"
    both = {"Objects": [{"Key": "digits/a b+c"}, {"Key": "elsewhere/file"}]}
    assert refused(s3.delete_objects, Bucket=BUCKET, Delete=both)[0] == "AccessDenied"
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "digits/a b+c"}]})
    code, words = refused(s3.put_object, Bucket=BUCKET, Key="top", Body=b"x" * 300_000)
    assert code == "AccessDenied"
    assert f"assumed-role/{ROLE}/{lent.instance_id} is not authorized to perform: s3:PutObject" in words
    assert refused(s3.put_object, Bucket=BUCKET, Key="digits/t", Body=b"", Tagging="a=b")[0] == "AccessDenied"
    assert refused(s3.put_object_acl, Bucket=BUCKET, Key="digits/t", ACL="private")[0] == "AccessDenied"
    assert refused(s3.get_bucket_policy, Bucket=BUCKET)[0] == "AccessDenied"
    assert refused(s3.list_buckets)[0] == "AccessDenied"


def test_large_objects_in_parts(lent):
    lent.may(OBJECTS)
    s3 = lent.client("s3")
    config = boto3.s3.transfer.TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_fileobj(io.BytesIO(b"x" * (11 << 20)), BUCKET, "digits/large", Config=config)
    assert lent.region.client("s3").head_object(Bucket=BUCKET, Key="digits/large")["ContentLength"] == 11 << 20
    assert refused(s3.create_multipart_upload, Bucket=BUCKET, Key="large")[0] == "AccessDenied"
    lent.region.client("s3").delete_object(Bucket=BUCKET, Key="digits/large")


def test_lists_are_held_to_their_prefix(lent):
    lent.may(LISTING)
    s3 = lent.client("s3")
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET, Prefix="digits/")["Contents"]]
    for prefix in ({}, {"Prefix": "dig"}, {"Prefix": "elsewhere/"}):
        assert refused(s3.list_objects_v2, Bucket=BUCKET, **prefix)[0] == "AccessDenied"


def test_a_missing_object_is_a_secret_to_those_who_may_not_list(lent):
    s3 = lent.client("s3")
    lent.may(OBJECTS)
    assert refused(s3.get_object, Bucket=BUCKET, Key="digits/none")[0] == "AccessDenied"
    assert refused(s3.head_object, Bucket=BUCKET, Key="digits/none")[0] == "403"
    lent.may(OBJECTS, allow("s3:ListBucket", f"arn:aws:s3:::{BUCKET}"))
    assert refused(s3.get_object, Bucket=BUCKET, Key="digits/none")[0] == "NoSuchKey"
    assert refused(s3.head_object, Bucket=BUCKET, Key="digits/none")[0] == "404"


def test_presigned_addresses_and_forms_carry_the_role(lent):
    lent.may(OBJECTS)
    s3 = lent.client("s3", signature_version="s3v4")
    for key, status in (("digits/from-the-machine", 200), ("elsewhere/file", 403)):
        address = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})
        assert requests.get(address, timeout=10).status_code == status
    for key, status in (("digits/posted", 204), ("elsewhere/posted", 403)):
        form = s3.generate_presigned_post(BUCKET, key)
        sent = requests.post(form["url"], data=form["fields"], files={"file": b"it"}, timeout=10)
        assert sent.status_code == status, sent.text


def test_its_own_machine_and_no_other(lent):
    ours = allow("ec2:TerminateInstances", "*", Condition={"StringEquals": OWN_TAG})
    lent.may(allow("ec2:DescribeInstances", "*"), ours)
    ec2 = lent.client("ec2")
    assert ec2.describe_instances(InstanceIds=[lent.instance_id])["Reservations"]
    (other,) = lent.region.run()
    code, words = refused(ec2.terminate_instances, InstanceIds=[other])
    assert code == "UnauthorizedOperation"
    assert "because no identity-based policy allows the ec2:TerminateInstances action" in words
    assert refused(ec2.terminate_instances, InstanceIds=[lent.instance_id, other])[0] == "UnauthorizedOperation"
    assert refused(ec2.terminate_instances, InstanceIds=[lent.instance_id], DryRun=True)[0] == "DryRunOperation"
    assert refused(ec2.describe_images)[0] == "UnauthorizedOperation"
    assert refused(ec2.create_security_group, GroupName="g", Description="g")[0] == "UnauthorizedOperation"
    assert refused(lent.client("iam").list_roles)[0] == "AccessDenied"
    assert lent.region.instance(other)["State"]["Name"] != "terminated"


def test_its_own_kill_switch_and_no_other(lent):
    account = "123456789012"
    switch = f"arn:aws:iam::{account}:role/gpurun-scheduler"
    own = allow(
        ["scheduler:CreateSchedule", "scheduler:UpdateSchedule", "scheduler:DeleteSchedule", "scheduler:GetSchedule"],
        f"arn:aws:scheduler:us-east-1:{account}:schedule/default/gpurun-digits-*",
    )
    passing = allow(
        "iam:PassRole", switch, Condition={"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}
    )
    scheduler = lent.client("scheduler")

    def arm(name: str) -> dict[str, Any]:
        target = {"Arn": TERMINATE, "RoleArn": switch, "Input": json.dumps({"InstanceIds": [lent.instance_id]})}
        when = f"at({datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%S})"
        return {
            "Name": name,
            "ScheduleExpression": when,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": target,
        }

    lent.may(own)
    code, words = refused(scheduler.create_schedule, **arm("gpurun-digits-1"))
    assert (code, "iam:PassRole" in words) == ("AccessDeniedException", True)
    lent.may(own, passing)
    scheduler.create_schedule(**arm("gpurun-digits-1"))
    scheduler.update_schedule(**arm("gpurun-digits-1"))
    assert scheduler.get_schedule(Name="gpurun-digits-1")["State"] == "ENABLED"
    scheduler.delete_schedule(Name="gpurun-digits-1")
    for name in ("gpurun-others-1", "end"):
        assert refused(scheduler.create_schedule, **arm(name))[0] == "AccessDeniedException"
        assert refused(scheduler.delete_schedule, Name=name)[0] == "AccessDeniedException"
    assert refused(scheduler.list_schedules)[0] == "AccessDeniedException"
    assert refused(scheduler.delete_schedule_group, Name="default")[0] == "AccessDeniedException"


def test_what_cannot_be_judged_is_refused_and_said(lent):
    s3 = lent.client("s3")
    for condition in (
        {"IpAddress": {"aws:SourceIp": "127.0.0.1"}},
        {"StringEquals": {"aws:PrincipalOrgID": "o-1"}},
        {"NumericLessThan": {"s3:prefix": "1"}},
    ):
        lent.may({**OBJECTS, "Condition": condition})
        _, words = refused(s3.get_object, Bucket=BUCKET, Key="digits/from-the-machine")
        assert "cannot judge" in words
    log = (lent.region.sandbox.state / "log").read_text()
    assert "it does not know the condition key aws:SourceIp" in log


def test_a_role_without_policies_may_nothing(lent):
    lent.may(OBJECTS)
    lent.may()
    assert refused(lent.client("s3").get_object, Bucket=BUCKET, Key="digits/from-the-machine")[0] == "AccessDenied"


def test_an_explicit_deny_wins(lent):
    lent.may(allow("*", "*"), {**OBJECTS, "Effect": "Deny"})
    s3 = lent.client("s3")
    assert s3.get_object(Bucket=BUCKET, Key="elsewhere/file")
    _, words = refused(s3.get_object, Bucket=BUCKET, Key="digits/from-the-machine")
    assert "with an explicit deny" in words


def test_the_key_alone_is_worth_nothing(lent):
    lent.may(OBJECTS)
    thief = replace(lent, credentials={**lent.credentials, "token": "another"})
    assert refused(thief.client("s3").list_buckets)[0] == "InvalidAccessKeyId"
    assert refused(thief.client("ec2").describe_instances)[0] == "AuthFailure"


def test_the_journal_says_why(lent):
    lent.region.admin.clear_journal()
    assert refused(lent.client("ec2").describe_volumes)[0] == "UnauthorizedOperation"
    (call,) = lent.region.admin.journal()
    assert (call["status"], "ec2:DescribeVolumes on resource: *" in call["refused"]) == (403, True)


def test_a_machine_that_ends_itself_leaves_its_last_words(lent):
    region = lent.region
    commands = {"runcmd": ["echo last words", "shutdown -h now", "sleep 600"]}
    user_data = "#cloud-config\n" + json.dumps(commands)
    (instance_id,) = region.run(UserData=user_data, InstanceInitiatedShutdownBehavior="terminate")
    region.until(instance_id, "terminated")
    assert "last words" in told(region, instance_id)
    assert "last words" in region.admin.console(instance_id)


WHO = "import boto3; found = boto3.Session().get_credentials(); print('WHO', found and found.method, flush=True)"


def test_on_loopback_hosts_too_and_only_where_a_role_is_lent(tmp_path, region_of):
    sandbox = control.start(tmp_path / "sandbox", hosts="loopback")
    try:
        region = region_of(sandbox)
        iam = region.client("iam")
        for name, service in ((ROLE, "ec2.amazonaws.com"), ("other", "lambda.amazonaws.com")):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(service))
            iam.create_instance_profile(InstanceProfileName=name)
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        user_data = "#cloud-config\n" + json.dumps({"runcmd": [["python3", "-c", WHO]]})
        for profile, method in (({"Name": ROLE}, "iam-role"), ({"Name": "other"}, "None"), (None, "None")):
            more = {"IamInstanceProfile": profile} if profile else {}
            (instance_id,) = region.run(UserData=user_data, **more)
            seen = region.wait(lambda each=instance_id: told(region, each), lambda text: "WHO " in text, 60)
            assert f"WHO {method}\n" in seen
    finally:
        control.stop(tmp_path / "sandbox")
