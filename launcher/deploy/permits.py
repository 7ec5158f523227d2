"""What the two roles of a deployment may do: one launches its machines and nothing else, the other is the machines'.

Source for resources and condition keys: Service Authorization Reference, Amazon EC2, Amazon EventBridge Scheduler,
AWS IAM, Amazon S3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launcher.aws import killswitch, policy
from launcher.deploy import names
from launcher.domain import TAG_RUN

if TYPE_CHECKING:
    from collections.abc import Sequence

FLEET_USES = ("network-interface", "subnet", "security-group")


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Where the deployment stands."""

    name: str
    region: str
    account_id: str
    partition: str

    def arn(self, service: str, resource: str, *, region: str | None = None) -> str:
        """Of something in the account."""
        place = self.region if region is None else region
        return f"arn:{self.partition}:{service}:{place}:{self.account_id}:{resource}"

    def role(self, name: str) -> str:
        """A role's."""
        return self.arn("iam", f"role/{name}", region="")


def launch_trust(whose: Whose) -> dict[str, Any]:
    """Scheduler may take the launching role, for the schedules of this group alone."""
    statement = {
        "Sid": "SchedulesOfThisGroup",
        "Effect": "Allow",
        "Principal": {"Service": policy.SCHEDULER},
        "Action": "sts:AssumeRole",
        "Condition": {
            "StringEquals": {
                "aws:SourceAccount": whose.account_id,
                "aws:SourceArn": whose.arn("scheduler", f"schedule-group/{names.group(whose.name)}"),
            }
        },
    }
    return _document(statement)


def launch(whose: Whose, *, template_id: str, image_id: str, instance_types: Sequence[str]) -> dict[str, Any]:
    """Launch machines of this template, image and types with the schedule's tag, lend them their role; nothing else.

    A machine may ask for one launch more under this role: a job of it must not come by a dearer one.
    """
    tagged = {"StringEquals": {f"aws:RequestTag/{TAG_RUN}": names.run_id(whose.name)}}
    template = whose.arn("ec2", f"launch-template/{template_id}")
    born = {"StringEquals": {"ec2:CreateAction": ["CreateFleet", "RunInstances"]}}
    made = [whose.arn("ec2", f"{kind}/*") for kind in ("fleet", "instance", "volume")]
    _, instances, volumes = made
    planned = {
        "StringEquals": {**tagged["StringEquals"], "ec2:InstanceType": sorted(set(instance_types))},
        "ArnEquals": {"ec2:LaunchTemplate": template},
    }
    image = f"arn:{whose.partition}:ec2:{whose.region}:*:image/{image_id}"
    used = [template, image, *(whose.arn("ec2", f"{kind}/*") for kind in FLEET_USES)]
    actions = ["ec2:CreateFleet", "ec2:RunInstances"]
    return _document(
        _on("MakeFleet", "ec2:CreateFleet", made, tagged),
        _on("MakeMachine", "ec2:RunInstances", instances, planned),
        _on("MakeDisk", "ec2:RunInstances", volumes, tagged),
        _on("Use", actions, used),
        _on("TagAtBirth", "ec2:CreateTags", made, born),
        _lend("LendToMachines", whose.role(names.machine_role(whose.name, whose.region)), policy.EC2),
        {
            "Sid": "SpotRoles",
            "Effect": "Allow",
            "Action": "iam:CreateServiceLinkedRole",
            "Resource": [whose.arn("iam", f"role/aws-service-role/{each}/*", region="") for each in policy.SPOT_ROLES],
            "Condition": {"StringEquals": {"iam:AWSServiceName": list(policy.SPOT_ROLES)}},
        },
    )


def machine_trust() -> dict[str, Any]:
    """EC2 may take the machines' role."""
    return _document(
        {"Sid": "Machines", "Effect": "Allow", "Principal": {"Service": policy.EC2}, "Action": "sts:AssumeRole"}
    )


def machine(whose: Whose, *, bucket: str, prefix: str, weights: str, data: tuple[str, str] | None) -> dict[str, Any]:
    """Read the store and the data, write the weights of one name, and set its own kill switch and its own retry.

    `data` is the bucket and prefix of data in S3.
    """
    group = names.group(whose.name)
    switch = f"schedule/{killswitch.GROUP}/{killswitch.prefix_of(names.run_id(whose.name))}*"
    objects = f"arn:{whose.partition}:s3:::{bucket}/{f'{prefix}/'.lstrip('/')}"
    return _document(
        _list(whose, "FindBucket", bucket),
        _on("ReadStore", "s3:GetObject", f"{objects}*"),
        _on(
            "KeepWeights",
            "s3:PutObject",
            [
                f"{objects}{each}"
                for each in (f"{weights}/*", "objects/*", "store.json", f"{names.FOLDER}/{whose.name}/*")
            ],
        ),
        _on("ForgetOldLedgers", "s3:DeleteObject", f"{objects}{names.FOLDER}/{whose.name}/ledgers/*"),
        *([_read(whose, *data)] if data else []),
        *([_list(whose, "FindData", data[0])] if data and data[0] != bucket else []),
        _schedules("OwnKillSwitch", whose.arn("scheduler", switch)),
        _schedules("OwnRetry", whose.arn("scheduler", f"schedule/{group}/once-*")),
        _on("SeeOwnTarget", "scheduler:GetSchedule", whose.arn("scheduler", f"schedule/{group}/cron-*")),
        _on("SeeWhoIsGone", "ec2:DescribeInstances", "*"),  # which knows no resources
        _lend("LendToSwitch", whose.role(killswitch.ROLE), policy.SCHEDULER),
        _lend("LendToRetry", whose.role(names.launch_role(whose.name, whose.region)), policy.SCHEDULER),
    )


def _read(whose: Whose, bucket: str, prefix: str) -> dict[str, Any]:
    below = f"{prefix.strip('/')}*" if prefix.strip("/") else "*"
    return _on("ReadData", "s3:GetObject", f"arn:{whose.partition}:s3:::{bucket}/{below}")


def _list(whose: Whose, sid: str, bucket: str) -> dict[str, Any]:
    return _on(sid, "s3:ListBucket", f"arn:{whose.partition}:s3:::{bucket}")


def _schedules(sid: str, resource: str) -> dict[str, Any]:
    return _on(sid, [f"scheduler:{verb}Schedule" for verb in ("Create", "Delete", "Update")], resource)


def _on(
    sid: str, actions: str | list[str], resource: str | list[str], condition: dict[str, Any] | None = None
) -> dict[str, Any]:
    statement: dict[str, Any] = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
    return statement | ({"Condition": condition} if condition else {})


def _lend(sid: str, role_arn: str, service: str) -> dict[str, Any]:
    condition = {"StringEquals": {"iam:PassedToService": service}}
    return {"Sid": sid, "Effect": "Allow", "Action": "iam:PassRole", "Resource": role_arn, "Condition": condition}


def _document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}
