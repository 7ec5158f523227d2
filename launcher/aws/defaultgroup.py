"""The default network's own security group, in which a machine sits until its run's group is put on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.aws.network import SSH_PORT

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import SecurityGroupRuleTypeDef

    from launcher.aws.client import Aws

ANYBODY = frozenset({"0.0.0.0/0", "::/0"})
ALL_PROTOCOLS = "-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultGroup:
    """A default security group, and its rules that let anybody in on SSH's port."""

    group_id: str
    open_rule_ids: tuple[str, ...]


def find(aws: Aws) -> DefaultGroup | None:
    """The default group of the region's default network; `None` where there is no such network."""
    with aws.errors("look at the default security group"):
        subnets = aws.ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
        if not subnets:
            return None
        groups = aws.ec2.describe_security_groups(
            Filters=[
                {"Name": "vpc-id", "Values": sorted({subnet["VpcId"] for subnet in subnets})},
                {"Name": "group-name", "Values": ["default"]},
            ]
        )["SecurityGroups"]
        group_id = groups[0]["GroupId"]
        pages = aws.ec2.get_paginator("describe_security_group_rules").paginate(
            Filters=[{"Name": "group-id", "Values": [group_id]}]
        )
        rules = [rule for page in pages for rule in page["SecurityGroupRules"]]
    open_rule_ids = tuple(sorted(rule["SecurityGroupRuleId"] for rule in rules if _lets_anybody_in(rule)))
    return DefaultGroup(group_id=group_id, open_rule_ids=open_rule_ids)


def _lets_anybody_in(rule: SecurityGroupRuleTypeDef) -> bool:
    if rule["IsEgress"] or not {rule.get("CidrIpv4"), rule.get("CidrIpv6")} & ANYBODY:
        return False
    if rule["IpProtocol"] == ALL_PROTOCOLS:
        return True
    return rule["IpProtocol"] == "tcp" and rule["FromPort"] <= SSH_PORT <= rule["ToPort"]
