"""Whether AWS would let us: each action tried as a dry run, which changes nothing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws import images, killswitch, policy
from launcher.aws import tags as tagging
from launcher.aws.faults import code_of, fault_of
from launcher.errors import CredentialsError, GpurunError, NotPermitted

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_ec2 import EC2Client

    from launcher.aws.client import Aws

Trials = dict[str, "Callable[[], object]"]

TRIAL = "gpurun-doctor"
"""Stands for a run in what is asked for; nothing of it is made."""
NOBODY = "00000000000000000"
"""The id of nothing."""
BY_TAG = frozenset({"ec2:AuthorizeSecurityGroupIngress", "ec2:ModifyInstanceAttribute", "ec2:TerminateInstances"})
"""Permitted for what carries a run's tag alone, so that a trial on nothing is refused: only an explicit deny tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One action tried."""

    action: str
    allowed: bool
    """Whether AWS did not refuse it."""
    advice: str


def probe(aws: Aws) -> list[Probe]:
    """Try the actions of a launch in parallel, without doing any; raises `CredentialsError` for bad credentials."""
    trials = _looks(aws.ec2) | _deeds(aws.ec2, _some_image(aws))
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda item: _try(aws, *item), trials.items()))


def probe_switch(aws: Aws) -> list[Probe]:
    """Try the actions of the kill switch, none of which can take effect; raises `CredentialsError`.

    Scheduler knows no dry run: what is asked for has a time that is none, or is not there.
    """
    trials = _switch_trials(aws, killswitch.role(aws))
    with ThreadPoolExecutor(len(trials)) as pool:
        return list(pool.map(lambda item: _try(aws, *item), trials.items()))


def switch_role(aws: Aws) -> bool | None:
    """Whether the account has the kill switch's role, for Scheduler to take; `None` where we may not look."""
    with aws.errors(f"look at the role {killswitch.ROLE}"):
        try:
            role = aws.iam.get_role(RoleName=killswitch.ROLE)["Role"]
        except ClientError as error:
            code = code_of(error)
            if code.startswith("NoSuchEntity"):
                return False
            if issubclass(fault_of(code).error, NotPermitted):
                return None
            raise
    return policy.SCHEDULER in json.dumps(role.get("AssumeRolePolicyDocument", {}))


def _try(aws: Aws, action: str, trial: Callable[[], object]) -> Probe:
    with aws.errors(f"try {action}"):
        try:
            trial()
        except ClientError as error:
            message = str(error.response.get("Error", {}).get("Message", ""))
            fault = fault_of(code_of(error), message)
            if issubclass(fault.error, CredentialsError):
                raise
            refused = issubclass(fault.error, NotPermitted)
            if refused and (action not in BY_TAG or "explicit deny" in message):
                return Probe(action=action, allowed=False, advice=fault.advice)
    return Probe(action=action, allowed=True, advice="")


def _some_image(aws: Aws) -> str:
    """An image to try with: EC2 looks for it before it judges the caller."""
    try:
        return images.resolve(aws, "").image_id
    except CredentialsError:
        raise
    except GpurunError:
        return f"ami-{NOBODY}"


def _looks(ec2: EC2Client) -> Trials:
    of_trial = [tagging.of_run(TRIAL)]
    return {
        "ec2:DescribeImages": lambda: ec2.describe_images(Owners=["self"], DryRun=True),
        "ec2:DescribeInstanceTypeOfferings": lambda: ec2.describe_instance_type_offerings(
            Filters=[{"Name": "instance-type", "Values": ["t3.micro"]}], DryRun=True
        ),
        "ec2:DescribeInstanceTypes": lambda: ec2.describe_instance_types(InstanceTypes=["t3.micro"], DryRun=True),
        "ec2:DescribeInstances": lambda: ec2.describe_instances(Filters=of_trial, DryRun=True),
        "ec2:DescribeKeyPairs": lambda: ec2.describe_key_pairs(Filters=of_trial, DryRun=True),
        "ec2:DescribeLaunchTemplates": lambda: ec2.describe_launch_templates(Filters=of_trial, DryRun=True),
        "ec2:DescribeRegions": lambda: ec2.describe_regions(DryRun=True),
        "ec2:DescribeSecurityGroupRules": lambda: ec2.describe_security_group_rules(Filters=of_trial, DryRun=True),
        "ec2:DescribeSecurityGroups": lambda: ec2.describe_security_groups(Filters=of_trial, DryRun=True),
        "ec2:DescribeSpotPriceHistory": lambda: ec2.describe_spot_price_history(
            InstanceTypes=["t3.micro"], MaxResults=1, DryRun=True
        ),
        "ec2:DescribeSubnets": lambda: ec2.describe_subnets(DryRun=True),
        "ec2:DescribeVolumes": lambda: ec2.describe_volumes(Filters=of_trial, DryRun=True),
    }


def _switch_trials(aws: Aws, role_arn: str) -> Trials:
    scheduler = aws.scheduler
    never = killswitch.never(role_arn)
    nobody = {"GroupName": never["GroupName"], "Name": never["Name"]}
    return {
        "scheduler:ListSchedules": lambda: scheduler.list_schedules(NamePrefix=never["Name"], MaxResults=1),
        "scheduler:CreateSchedule": lambda: scheduler.create_schedule(**never),
        "scheduler:UpdateSchedule": lambda: scheduler.update_schedule(**never),
        "scheduler:GetSchedule": lambda: scheduler.get_schedule(**nobody),
        "scheduler:DeleteSchedule": lambda: scheduler.delete_schedule(**nobody),
    }


def _deeds(ec2: EC2Client, image_id: str) -> Trials:
    return {
        "ec2:RunInstances": lambda: ec2.run_instances(
            ImageId=image_id,
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[tagging.at_birth("instance", TRIAL, {}), tagging.at_birth("volume", TRIAL, {})],
            DryRun=True,
        ),
        "ec2:CreateFleet": lambda: ec2.create_fleet(
            Type="instant",
            TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
            LaunchTemplateConfigs=[
                {"LaunchTemplateSpecification": {"LaunchTemplateName": TRIAL, "Version": "1"}},
            ],
            TagSpecifications=[tagging.at_birth("fleet", TRIAL, {})],
            DryRun=True,
        ),
        "ec2:CreateLaunchTemplate": lambda: ec2.create_launch_template(
            LaunchTemplateName=TRIAL,
            LaunchTemplateData={"InstanceType": "t3.micro"},
            TagSpecifications=[tagging.at_birth("launch-template", TRIAL, {})],
            DryRun=True,
        ),
        "ec2:CreateSecurityGroup": lambda: ec2.create_security_group(
            GroupName=TRIAL,
            Description=TRIAL,
            TagSpecifications=[tagging.at_birth("security-group", TRIAL, {})],
            DryRun=True,
        ),
        "ec2:AuthorizeSecurityGroupIngress": lambda: ec2.authorize_security_group_ingress(
            GroupId=f"sg-{NOBODY}", IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="192.0.2.1/32", DryRun=True
        ),
        "ec2:ModifyInstanceAttribute": lambda: ec2.modify_instance_attribute(
            InstanceId=f"i-{NOBODY}", Groups=[f"sg-{NOBODY}"], DryRun=True
        ),
        "ec2:TerminateInstances": lambda: ec2.terminate_instances(InstanceIds=[f"i-{NOBODY}"], DryRun=True),
    }
