"""Launch templates and their versions, by plain boto3: what a deployment makes, changes and removes."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def code(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]["Code"]


@pytest.fixture
def name(region) -> str:
    name = f"gpurun-{time.monotonic_ns()}"
    data = {
        "ImageId": region.image,
        "InstanceType": "t3.micro",
        "UserData": encoded("first"),
        "IamInstanceProfile": {"Name": "trainer"},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}],
    }
    tags = [{"ResourceType": "launch-template", "Tags": [{"Key": "gpurun:schedule", "Value": "digits"}]}]
    region.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data, TagSpecifications=tags)
    return name


@pytest.fixture(autouse=True)
def profile(region):
    iam = region.client("iam")
    trust = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"},'
        ' "Action": "sts:AssumeRole"}]}'
    )
    iam.create_role(RoleName="trainer", AssumeRolePolicyDocument=trust)
    iam.create_instance_profile(InstanceProfileName="trainer")
    iam.add_role_to_instance_profile(InstanceProfileName="trainer", RoleName="trainer")
    yield
    iam.remove_role_from_instance_profile(InstanceProfileName="trainer", RoleName="trainer")
    iam.delete_instance_profile(InstanceProfileName="trainer")
    iam.delete_role(RoleName="trainer")


def test_a_version_shows_what_it_was_made_of(region, name):
    (version,) = region.ec2.describe_launch_template_versions(LaunchTemplateName=name)["LaunchTemplateVersions"]
    data = version["LaunchTemplateData"]
    assert (version["VersionNumber"], version["DefaultVersion"]) == (1, True)
    assert data["IamInstanceProfile"] == {"Name": "trainer"}
    assert data["UserData"] == encoded("first")
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert data["TagSpecifications"] == [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]
    (template,) = region.ec2.describe_launch_templates(LaunchTemplateNames=[name])["LaunchTemplates"]
    assert template["Tags"] == [{"Key": "gpurun:schedule", "Value": "digits"}]
    found = region.ec2.describe_launch_templates(Filters=[{"Name": "tag:gpurun:schedule", "Values": ["digits"]}])
    assert name in [each["LaunchTemplateName"] for each in found["LaunchTemplates"]]


def test_a_new_version_becomes_the_default_when_it_is_told_to(region, name):
    ec2 = region.ec2
    data = {"UserData": encoded("second"), "ImageId": region.image, "InstanceType": "t3.small"}
    made = ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=data)
    assert made["LaunchTemplateVersion"]["VersionNumber"] == 2
    assert [shown["VersionNumber"] for shown in versions(ec2, name, "$Default")] == [1]
    assert [shown["VersionNumber"] for shown in versions(ec2, name, "$Latest")] == [2]
    assert launched_with(region, name, "$Default") == ("t3.micro", encoded("first"))
    ec2.modify_launch_template(LaunchTemplateName=name, DefaultVersion="2")
    assert [shown["VersionNumber"] for shown in versions(ec2, name, "$Default")] == [2]
    assert launched_with(region, name, "$Default") == ("t3.small", encoded("second"))
    assert launched_with(region, name, "1") == ("t3.micro", encoded("first"))
    (template,) = ec2.describe_launch_templates(LaunchTemplateNames=[name])["LaunchTemplates"]
    assert (template["DefaultVersionNumber"], template["LatestVersionNumber"]) == (2, 2)


def test_a_version_made_of_another_has_what_it_does_not_say(region, name):
    changed = {"InstanceType": "t3.small"}
    region.ec2.create_launch_template_version(LaunchTemplateName=name, SourceVersion="1", LaunchTemplateData=changed)
    assert launched_with(region, name, "2") == ("t3.small", encoded("first"))


def test_old_versions_go(region, name):
    data = {"ImageId": region.image}
    region.ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=data)
    region.ec2.modify_launch_template(LaunchTemplateName=name, DefaultVersion="2")
    gone = region.ec2.delete_launch_template_versions(LaunchTemplateName=name, Versions=["1"])
    assert [each["VersionNumber"] for each in gone["SuccessfullyDeletedLaunchTemplateVersions"]] == [1]
    shown = region.ec2.describe_launch_template_versions(LaunchTemplateName=name)["LaunchTemplateVersions"]
    assert [each["VersionNumber"] for each in shown] == [2]
    kept = region.ec2.delete_launch_template_versions(LaunchTemplateName=name, Versions=["2"])
    assert kept["UnsuccessfullyDeletedLaunchTemplateVersions"]
    region.ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=data)
    assert [each["VersionNumber"] for each in versions(region.ec2, name, "$Latest")] == [3]


def test_what_is_not_there(region, name):
    ec2 = region.ec2
    data = {"InstanceType": "t3.micro"}
    nobody, nothing = {"LaunchTemplateName": "none"}, {"LaunchTemplateId": "lt-00000000000000000"}
    by_name, by_id = "InvalidLaunchTemplateName.NotFoundException", "InvalidLaunchTemplateId.NotFound"
    for where, expected in ((nobody, by_name), (nothing, by_id)):
        assert code(ec2.describe_launch_template_versions, **where) == expected
        assert code(ec2.create_launch_template_version, LaunchTemplateData=data, **where) == expected
        assert code(ec2.modify_launch_template, DefaultVersion="1", **where) == expected
        assert code(ec2.delete_launch_template, **where) == expected
    assert code(ec2.describe_launch_templates, LaunchTemplateNames=["none"]) == by_name
    assert code(ec2.describe_launch_templates, LaunchTemplateIds=["lt-00000000000000000"]) == by_id
    missing = "InvalidLaunchTemplateId.VersionNotFound"
    assert code(ec2.modify_launch_template, LaunchTemplateName=name, DefaultVersion="7") == missing
    taken = "InvalidLaunchTemplateName.AlreadyExistsException"
    assert code(ec2.create_launch_template, LaunchTemplateName=name, LaunchTemplateData=data) == taken


def test_deleted_it_launches_nothing(region, name):
    region.ec2.delete_launch_template(LaunchTemplateName=name)
    launch = {"MinCount": 1, "MaxCount": 1, "LaunchTemplate": {"LaunchTemplateName": name}}
    assert code(region.ec2.run_instances, **launch) == "InvalidLaunchTemplateName.NotFoundException"


def test_user_data_has_its_limit(region):
    assert code(region.run, UserData="x" * 16_385) == "InvalidParameterValue"
    region.run(UserData="x" * 16_384)


def versions(ec2: Any, name: str, which: str) -> list[dict[str, Any]]:
    shown = ec2.describe_launch_template_versions(LaunchTemplateName=name, Versions=[which])
    return list(shown["LaunchTemplateVersions"])


def launched_with(region: Any, name: str, version: str) -> tuple[str, str]:
    """The type and user-data of an instance that is launched from a version."""
    which = {"LaunchTemplateName": name, "Version": version}
    made = region.ec2.run_instances(MinCount=1, MaxCount=1, LaunchTemplate=which)["Instances"][0]
    asked = {"InstanceId": made["InstanceId"], "Attribute": "userData"}
    return made["InstanceType"], region.ec2.describe_instance_attribute(**asked)["UserData"]["Value"]
