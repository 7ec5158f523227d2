"""The least that gpurun must be permitted: one list, from which the policy file and the dry runs both come.

Source for which resources and condition keys each action knows: Service Authorization Reference, "Actions, resources,
and condition keys" for Amazon EC2, Amazon EventBridge Scheduler, AWS IAM and Amazon S3.
"""

from __future__ import annotations

import json
from typing import Any

from launcher.aws.killswitch import GROUP, ROLE
from launcher.aws.tags import TAG_BAKE, TAG_SCHEDULE
from launcher.domain import TAG_RUN

READ = (
    "ec2:DescribeAddresses",
    "ec2:DescribeImages",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstances",
    "ec2:DescribeKeyPairs",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeRegions",
    "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSnapshots",
    "ec2:DescribeSpotPriceHistory",
    "ec2:DescribeSubnets",
    "ec2:DescribeVolumes",
    "ec2:GetSpotPlacementScores",
    "pricing:GetProducts",
    "scheduler:ListSchedules",
    "servicequotas:GetServiceQuota",
    "sts:GetCallerIdentity",
)
"""Reading what the account has; none of these can be narrowed to a resource."""

MAKE: dict[str, tuple[str, ...]] = {
    "ec2:CreateFleet": ("fleet", "instance", "volume"),
    "ec2:CreateLaunchTemplate": ("launch-template",),
    "ec2:CreateSecurityGroup": ("security-group",),
    "ec2:RunInstances": ("instance", "volume"),
}
"""What each action makes: permitted only with the tag of a run on it."""

USE: dict[str, tuple[str, ...]] = {
    "ec2:CreateFleet": ("launch-template", "network-interface", "subnet", "security-group", "image"),
    "ec2:CreateSecurityGroup": ("vpc",),
    "ec2:RunInstances": ("launch-template", "network-interface", "subnet", "security-group", "image"),
}
"""What each of them only uses, or makes without tags."""

END = (
    "ec2:DeleteKeyPair",
    "ec2:DeleteLaunchTemplate",
    "ec2:DeleteSecurityGroup",
    "ec2:DeleteSnapshot",
    "ec2:DeleteVolume",
    "ec2:DeregisterImage",
    "ec2:GetConsoleOutput",
    "ec2:ReleaseAddress",
    "ec2:ModifyInstanceAttribute",
    "ec2:RevokeSecurityGroupIngress",
    "ec2:TerminateInstances",
)
"""What touches or ends something: permitted only where the tag of a run is on it."""

SWITCH = {
    "schedule": ("CreateSchedule", "DeleteSchedule", "GetSchedule", "UpdateSchedule"),
    "schedule-group": ("CreateScheduleGroup", "TagResource"),
}
"""The kill switch: our schedules, which lie in our group alone."""

SCHEDULER = "scheduler.amazonaws.com"
EC2 = "ec2.amazonaws.com"
DEPLOYED = "gpurun-schedule-*"
"""Roles, instance profiles and schedule groups of deployed schedules; the kill switch's role is not among them."""
SPOT_ROLES = ("spot.amazonaws.com", "ec2fleet.amazonaws.com")


def document() -> dict[str, Any]:
    """The IAM policy."""
    asked = {"Null": {f"aws:RequestTag/{TAG_RUN}": "false"}}
    there = {"Null": {f"aws:ResourceTag/{TAG_RUN}": "false"}}
    made = sorted({kind for kinds in MAKE.values() for kind in kinds})
    statements = [
        {"Sid": "Look", "Effect": "Allow", "Action": sorted(READ), "Resource": "*"},
        {
            "Sid": "PublicParameters",
            "Effect": "Allow",
            "Action": "ssm:GetParameter",
            "Resource": "arn:aws:ssm:*::parameter/aws/service/*",
        },
        *(_statement(f"Make{_bare(action)}", action, kinds, asked) for action, kinds in MAKE.items()),
        *(_statement(f"Use{_bare(action)}", action, kinds) for action, kinds in USE.items()),
        _statement("OpenDoor", "ec2:AuthorizeSecurityGroupIngress", ("security-group",), there),
        _statement("TagDoor", "ec2:AuthorizeSecurityGroupIngress", ("security-group-rule",), asked),
        _statement(
            "TagAtBirth",
            "ec2:CreateTags",
            (*made, "security-group-rule"),
            {"StringEquals": {"ec2:CreateAction": [*map(_bare, MAKE), "AuthorizeSecurityGroupIngress"]}},
        ),
        {"Sid": "EndOurs", "Effect": "Allow", "Action": list(END), "Resource": "*", "Condition": there},
        _switch("SetKillSwitch", "schedule", f"{GROUP}/*"),
        _switch("GroupKillSwitches", "schedule-group", GROUP),
        {"Sid": "SeeRole", "Effect": "Allow", "Action": "iam:GetRole", "Resource": f"arn:aws:iam::*:role/{ROLE}"},
        {
            "Sid": "LendRole",
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": f"arn:aws:iam::*:role/{ROLE}",
            "Condition": {"StringEquals": {"iam:PassedToService": SCHEDULER}},
        },
        {
            "Sid": "SpotRoles",
            "Effect": "Allow",
            "Action": "iam:CreateServiceLinkedRole",
            "Resource": [f"arn:aws:iam::*:role/aws-service-role/{service}/*" for service in SPOT_ROLES],
            "Condition": {"StringEquals": {"iam:AWSServiceName": list(SPOT_ROLES)}},
        },
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def role_trust(account_id: str) -> dict[str, Any]:
    """Who may take the kill switch's role: EventBridge Scheduler, for schedules of this account."""
    statement = {
        "Sid": "SchedulerOfThisAccount",
        "Effect": "Allow",
        "Principal": {"Service": SCHEDULER},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": account_id}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def role_permission(account_id: str) -> dict[str, Any]:
    """What that role may do: terminate instances that carry a run's tag, and nothing else."""
    statement = {
        "Sid": "EndMachinesOfRuns",
        "Effect": "Allow",
        "Action": "ec2:TerminateInstances",
        "Resource": f"arn:aws:ec2:*:{account_id}:instance/*",
        "Condition": {"Null": {f"aws:ResourceTag/{TAG_RUN}": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def outputs(bucket: str, prefix: str = "") -> dict[str, Any]:
    """What durable outputs need besides: one bucket, and in it what lies below the prefix."""
    below = f"{prefix.strip('/')}/*" if prefix.strip("/") else "*"
    bucket_level = {
        "Sid": "FindOutputs",
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{bucket}",
    }
    object_level = {
        "Sid": "KeepOutputs",
        "Effect": "Allow",
        "Action": ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
        "Resource": f"arn:aws:s3:::{bucket}/{below}",
    }
    return {"Version": "2012-10-17", "Statement": [bucket_level, object_level]}


def bake() -> dict[str, Any]:
    """What making machine images needs besides: images and snapshots with a bake's tag, made of machines of runs."""
    asked = {"Null": {f"aws:RequestTag/{TAG_BAKE}": "false"}}
    there = {"Null": {f"aws:ResourceTag/{TAG_BAKE}": "false"}}
    made = ("image", "snapshot")
    look = {
        "Sid": "LookAtImages",
        "Effect": "Allow",
        "Action": ["ec2:DescribeImageAttribute", "kms:DescribeKey"],
        "Resource": "*",
    }
    born = {"StringEquals": {"ec2:CreateAction": ["CopyImage", "CreateImage"]}}
    of_run = {"Null": {f"aws:ResourceTag/{TAG_RUN}": "false"}}
    statements = [
        look,
        _statement("ImageOfMachine", "ec2:CreateImage", ("instance",), of_run),
        _statement("MakeImage", "ec2:CreateImage", made, asked),
        _statement("CopyImage", "ec2:CopyImage", made),
        _statement("TagImageAtBirth", "ec2:CreateTags", made, born),
        _statement("NameImage", "ec2:CreateTags", made, there),
        _statement("ShareImage", "ec2:ModifyImageAttribute", ("image",), there),
        _statement("EndImage", "ec2:DeregisterImage", ("image",), there),
        _statement("EndSnapshot", "ec2:DeleteSnapshot", ("snapshot",), there),
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def deploy() -> dict[str, Any]:
    """What `gpurun schedule deploy` needs besides: roles, groups and templates of its own, by name and by tag.

    IAM tells of what is gone only where the name alone decides, so that tags are asked for at birth and not at the end.
    """
    asked = {"Null": {f"aws:RequestTag/{TAG_SCHEDULE}": "false"}}
    there = {"Null": {f"aws:ResourceTag/{TAG_SCHEDULE}": "false"}}
    role, profile = f"arn:aws:iam::*:role/{DEPLOYED}", f"arn:aws:iam::*:instance-profile/{DEPLOYED}"
    group, fires = f"arn:aws:scheduler:*:*:schedule-group/{DEPLOYED}", f"arn:aws:scheduler:*:*:schedule/{DEPLOYED}/*"
    of_role = [f"iam:{verb}" for verb in ("DeleteRole", "DeleteRolePolicy", "GetRole", "PutRolePolicy")]
    of_profile = ("AddRoleTo", "Delete", "Get", "RemoveRoleFrom")
    of_group = [f"scheduler:{verb}" for verb in ("DeleteScheduleGroup", "GetScheduleGroup", "ListTagsForResource")]
    statements = [
        {"Sid": "MakeRole", **_allow(["iam:CreateRole", "iam:TagRole"], role), "Condition": asked},
        {"Sid": "KeepRole", **_allow([*of_role, "iam:UpdateAssumeRolePolicy"], role)},
        {
            "Sid": "MakeProfile",
            **_allow(["iam:CreateInstanceProfile", "iam:TagInstanceProfile"], profile),
            "Condition": asked,
        },
        {"Sid": "KeepProfile", **_allow([f"iam:{verb}InstanceProfile" for verb in of_profile], profile)},
        {
            "Sid": "LendRoles",
            **_allow("iam:PassRole", role),
            "Condition": {"StringEquals": {"iam:PassedToService": [EC2, SCHEDULER]}},
        },
        _statement("MakeTemplate", "ec2:CreateLaunchTemplate", ("launch-template",), asked),
        _statement(
            "TagTemplateAtBirth",
            "ec2:CreateTags",
            ("launch-template",),
            {"StringEquals": {"ec2:CreateAction": "CreateLaunchTemplate"}},
        ),
        _statement("EndTemplate", "ec2:DeleteLaunchTemplate", ("launch-template",), there),
        {
            "Sid": "MakeGroup",
            **_allow(["scheduler:CreateScheduleGroup", "scheduler:TagResource"], group),
            "Condition": asked,
        },
        {"Sid": "KeepGroup", **_allow(of_group, group)},
        {"Sid": "KeepTime", **_allow([f"scheduler:{name}" for name in SWITCH["schedule"]], fires)},
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def text(policy: dict[str, Any] | None = None) -> str:
    """A policy, the launcher's where none is given, as its file holds it."""
    return json.dumps(policy or document(), indent=2) + "\n"


def _statement(
    sid: str, action: str, kinds: tuple[str, ...], condition: dict[str, Any] | None = None
) -> dict[str, Any]:
    # Images are public: their ARN has no account, which `*` matches too.
    statement: dict[str, Any] = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": action,
        "Resource": [f"arn:aws:ec2:*:*:{kind}/*" for kind in kinds],
    }
    return statement | ({"Condition": condition} if condition else {})


def _switch(sid: str, kind: str, resource: str) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": [f"scheduler:{name}" for name in SWITCH[kind]],
        "Resource": f"arn:aws:scheduler:*:*:{kind}/{resource}",
    }


def _allow(actions: str | list[str], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource}


def _bare(action: str) -> str:
    return action.partition(":")[2]
