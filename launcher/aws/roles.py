"""IAM roles and instance profiles that gpurun makes, each with one inline policy; found again by name and tag.

Source: IAM API Reference, CreateRole, PutRolePolicy, CreateInstanceProfile; EC2 User Guide, "IAM roles for Amazon EC2".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from launcher.aws import tags as tagging
from launcher.aws.faults import code_of
from launcher.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.aws.client import Aws

_GONE = frozenset({"NoSuchEntity", "NoSuchEntityException"})
_THERE = frozenset({"EntityAlreadyExists", "EntityAlreadyExistsException"})


def put_role(aws: Aws, name: str, *, trust: dict[str, Any], permission: dict[str, Any], tags: Mapping[str, str]) -> str:
    """Make a role, or bring one of ours to what is wanted; gives its ARN.

    Raises `SpecError` where a role of that name is somebody else's.
    """
    with aws.errors(f"make the role {name}"):
        try:
            made = aws.iam.create_role(
                RoleName=name, AssumeRolePolicyDocument=json.dumps(trust), Tags=tagging.to_list(tags)
            )
        except ClientError as error:
            if code_of(error) not in _THERE:
                raise
            made = aws.iam.get_role(RoleName=name)
            _require_ours(name, made["Role"].get("Tags"), tags)
            aws.iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
        aws.iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps(permission))
    return str(made["Role"]["Arn"])


def put_profile(aws: Aws, name: str, *, tags: Mapping[str, str]) -> None:
    """Make the instance profile that lends the role of the same name to machines; harmless when done twice."""
    with aws.errors(f"make the instance profile {name}"):
        _harmless(lambda: aws.iam.create_instance_profile(InstanceProfileName=name, Tags=tagging.to_list(tags)), _THERE)
        found = aws.iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
        if name not in [role["RoleName"] for role in found["Roles"]]:
            aws.iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def tags_of(aws: Aws, name: str) -> dict[str, str] | None:
    """The tags of a role; `None` where there is none of that name."""
    with aws.errors(f"look for the role {name}"):
        try:
            return tagging.to_dict(aws.iam.get_role(RoleName=name)["Role"].get("Tags"))
        except ClientError as error:
            if code_of(error) not in _GONE:
                raise
            return None


def remove_profile(aws: Aws, name: str) -> None:
    """Remove an instance profile; harmless when it is gone."""
    with aws.errors(f"remove the instance profile {name}"):
        profile = {"InstanceProfileName": name}
        _harmless(lambda: aws.iam.remove_role_from_instance_profile(RoleName=name, **profile), _GONE)
        _harmless(lambda: aws.iam.delete_instance_profile(**profile), _GONE)


def remove_role(aws: Aws, name: str) -> None:
    """Remove a role and its policy; harmless when it is gone."""
    with aws.errors(f"remove the role {name}"):
        _harmless(lambda: aws.iam.delete_role_policy(RoleName=name, PolicyName=name), _GONE)
        _harmless(lambda: aws.iam.delete_role(RoleName=name), _GONE)


def _require_ours(name: str, found: Any, wanted: Mapping[str, str]) -> None:
    there = tagging.to_dict(found)
    if any(there.get(key) != value for key, value in wanted.items()):
        raise SpecError(
            f"the account has a role {name} that is not this schedule's: {there or 'it has no tags'}",
            hint=f"another name for the schedule, or first: aws iam delete-role --role-name {name}",
        )


def _harmless(call: Callable[[], object], codes: frozenset[str]) -> None:
    try:
        call()
    except ClientError as error:
        if code_of(error) not in codes:
            raise
