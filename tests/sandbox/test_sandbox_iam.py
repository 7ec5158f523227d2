"""The sandbox's IAM by plain boto3: what a deployment makes, what it finds again, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

NAME = "gpurun-test"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
PERMISSION = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}],
}


@pytest.fixture
def iam(region):
    client = region.client("iam")
    yield client
    for profile in client.list_instance_profiles()["InstanceProfiles"]:
        for role in profile["Roles"]:
            client.remove_role_from_instance_profile(
                InstanceProfileName=profile["InstanceProfileName"], RoleName=role["RoleName"]
            )
        client.delete_instance_profile(InstanceProfileName=profile["InstanceProfileName"])
    for role in client.list_roles()["Roles"]:
        if role["RoleName"].startswith(NAME):
            for policy in client.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
                client.delete_role_policy(RoleName=role["RoleName"], PolicyName=policy)
            client.delete_role(RoleName=role["RoleName"])


def create(iam: Any, name: str = NAME, **more: Any) -> dict[str, Any]:
    return iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST), **more)["Role"]


def code(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]["Code"]


def test_a_role_with_its_policy_and_tags(iam):
    role = create(iam, Tags=[{"Key": "a", "Value": "b"}])
    assert role["Arn"] == f"arn:aws:iam::123456789012:role/{NAME}"
    iam.put_role_policy(RoleName=NAME, PolicyName="p", PolicyDocument=json.dumps(PERMISSION))
    iam.tag_role(RoleName=NAME, Tags=[{"Key": "c", "Value": "d"}])
    found = iam.get_role(RoleName=NAME)["Role"]
    assert found["AssumeRolePolicyDocument"] == TRUST
    assert sorted(tag["Key"] for tag in found["Tags"]) == ["a", "c"]
    assert iam.get_role_policy(RoleName=NAME, PolicyName="p")["PolicyDocument"] == PERMISSION
    assert iam.list_role_policies(RoleName=NAME)["PolicyNames"] == ["p"]


def test_an_instance_profile_with_its_role(iam):
    create(iam)
    made = iam.create_instance_profile(InstanceProfileName=NAME, Tags=[{"Key": "a", "Value": "b"}])["InstanceProfile"]
    assert made["Arn"] == f"arn:aws:iam::123456789012:instance-profile/{NAME}"
    iam.add_role_to_instance_profile(InstanceProfileName=NAME, RoleName=NAME)
    found = iam.get_instance_profile(InstanceProfileName=NAME)["InstanceProfile"]
    assert [role["RoleName"] for role in found["Roles"]] == [NAME]
    assert found["Tags"] == [{"Key": "a", "Value": "b"}]
    of_role = iam.list_instance_profiles_for_role(RoleName=NAME)["InstanceProfiles"]
    assert [each["InstanceProfileName"] for each in of_role] == [NAME]
    create(iam, f"{NAME}-2")
    assert code(iam.add_role_to_instance_profile, InstanceProfileName=NAME, RoleName=f"{NAME}-2") == "LimitExceeded"


def test_lists_come_in_pages(iam):
    names = [f"{NAME}-{number}" for number in range(5)]
    for name in names:
        create(iam, name)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.put_role_policy(RoleName=names[0], PolicyName=name, PolicyDocument=json.dumps(PERMISSION))
        iam.tag_role(RoleName=names[0], Tags=[{"Key": name, "Value": ""}])

    def pages(operation: str, key: str, **parameters: Any) -> list[list[Any]]:
        paginator = iam.get_paginator(operation)
        return [page[key] for page in paginator.paginate(PaginationConfig={"PageSize": 2}, **parameters)]

    roles = pages("list_roles", "Roles")
    assert {role["RoleName"] for page in roles for role in page} >= {"gpurun-scheduler", *names}
    assert max(map(len, roles)) == 2
    profiles = pages("list_instance_profiles", "InstanceProfiles")
    assert [[each["InstanceProfileName"] for each in page] for page in profiles] == [names[:2], names[2:4], names[4:]]
    assert pages("list_role_policies", "PolicyNames", RoleName=names[0]) == [names[:2], names[2:4], names[4:]]
    tags = pages("list_role_tags", "Tags", RoleName=names[0])
    assert [len(page) for page in tags] == [2, 2, 1]


def test_what_is_not_there(iam):
    role, profile = {"RoleName": "none"}, {"InstanceProfileName": "none"}
    create(iam)
    iam.create_instance_profile(InstanceProfileName=NAME)
    for call, parameters in (
        (iam.get_role, role),
        (iam.delete_role, role),
        (iam.list_role_policies, role),
        (iam.list_role_tags, role),
        (iam.tag_role, {**role, "Tags": [{"Key": "a", "Value": "b"}]}),
        (iam.put_role_policy, {**role, "PolicyName": "p", "PolicyDocument": json.dumps(PERMISSION)}),
        (iam.get_role_policy, {"RoleName": NAME, "PolicyName": "p"}),
        (iam.delete_role_policy, {"RoleName": NAME, "PolicyName": "p"}),
        (iam.get_instance_profile, profile),
        (iam.delete_instance_profile, profile),
        (iam.add_role_to_instance_profile, {"InstanceProfileName": NAME, **role}),
        (iam.add_role_to_instance_profile, {"RoleName": NAME, **profile}),
        (iam.remove_role_from_instance_profile, {"InstanceProfileName": NAME, "RoleName": NAME}),
        (iam.list_instance_profiles_for_role, role),
    ):
        assert code(call, **parameters) == "NoSuchEntity", call


def test_what_is_there_already(iam):
    create(iam)
    iam.create_instance_profile(InstanceProfileName=NAME)
    document = json.dumps(TRUST)
    assert code(iam.create_role, RoleName=NAME, AssumeRolePolicyDocument=document) == "EntityAlreadyExists"
    assert code(iam.create_instance_profile, InstanceProfileName=NAME) == "EntityAlreadyExists"


def test_what_is_in_use_stays(iam):
    create(iam)
    iam.put_role_policy(RoleName=NAME, PolicyName="p", PolicyDocument=json.dumps(PERMISSION))
    assert code(iam.delete_role, RoleName=NAME) == "DeleteConflict"
    iam.delete_role_policy(RoleName=NAME, PolicyName="p")
    iam.create_instance_profile(InstanceProfileName=NAME)
    iam.add_role_to_instance_profile(InstanceProfileName=NAME, RoleName=NAME)
    assert code(iam.delete_role, RoleName=NAME) == "DeleteConflict"
    assert code(iam.delete_instance_profile, InstanceProfileName=NAME) == "DeleteConflict"
    iam.remove_role_from_instance_profile(InstanceProfileName=NAME, RoleName=NAME)
    iam.delete_role(RoleName=NAME)
    iam.delete_instance_profile(InstanceProfileName=NAME)


@pytest.mark.parametrize(
    "document",
    [
        "{",
        '{"Version": "2012-10-17"}',
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps", "Action": "s3:GetObject", "Resource": "*"}]}',
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject"}]}',
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "GetObject", "Resource": "*"}]}',
    ],
)
def test_policies_that_are_none(iam, document):
    create(iam)
    put = {"RoleName": NAME, "PolicyName": "p", "PolicyDocument": document}
    assert code(iam.put_role_policy, **put) == "MalformedPolicyDocument"


def test_trust_that_is_none(iam):
    for document in ("{", json.dumps(PERMISSION), json.dumps(TRUST).replace("Principal", "NotThere")):
        wanted = {"RoleName": NAME, "AssumeRolePolicyDocument": document}
        assert code(iam.create_role, **wanted) == "MalformedPolicyDocument", document
    create(iam)
    assert code(iam.update_assume_role_policy, RoleName=NAME, PolicyDocument="{") == "MalformedPolicyDocument"


def test_policies_have_room_for_so_much(iam):
    create(iam)
    long = {**PERMISSION, "Statement": [{**PERMISSION["Statement"][0], "Resource": f"arn:aws:s3:::{'b' * 6000}"}]}
    iam.put_role_policy(RoleName=NAME, PolicyName="p", PolicyDocument=json.dumps(long, indent=8))
    iam.put_role_policy(RoleName=NAME, PolicyName="p", PolicyDocument=json.dumps(long))
    another = {"RoleName": NAME, "PolicyName": "q", "PolicyDocument": json.dumps(long)}
    assert code(iam.put_role_policy, **another) == "LimitExceeded"
