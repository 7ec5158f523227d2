"""The way in: one security group for each run, open to one address, in the default network.

A group of the run's own, and not one shared by all: EC2 refuses a second rule for the same address in one
group, so runs that share a group would have to count who still needs it. A run's own group goes with it.
"""

from __future__ import annotations

import ipaddress
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from launcher.aws import tags as tagging
from launcher.aws.faults import code_of
from launcher.aws.polling import backoff, until
from launcher.errors import BrokenRequest, HostUnreachable, ProvisionError, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from types_boto3_ec2.type_defs import IpPermissionOutputTypeDef, IpPermissionTypeDef, SecurityGroupRuleTypeDef

    from launcher.aws.client import Aws

ADDRESS_SERVICE = "https://checkip.amazonaws.com"
SSH_PORT = 22
DESCRIPTION = "gpurun"
"""Of every rule of ours."""
GROUP_RELEASE_TIMEOUT_S = 120.0
"""A terminated instance holds its group until its network interface is gone, some seconds later."""

RULE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingress:
    """A door for SSH: the group and its one rule."""

    group_id: str
    rule_id: str


def caller_address(aws: Aws, *, service: str = ADDRESS_SERVICE) -> str:
    """The address from which machines see us.

    Where the profile names a service for that (`checkip_url`) it is asked; else, where EC2's endpoint lies in a private
    network, we are inside it, and our address towards it counts; else `service` is asked. Raises `HostUnreachable`
    when that gives no address.
    """
    if aws.checkip_url is not None:
        return _public_address(aws.checkip_url)
    endpoint = _private_address(aws.endpoint_host)
    return _source_towards(endpoint) if endpoint else _public_address(service)


def default_subnets(aws: Aws, zones: Sequence[str]) -> dict[str, str]:
    """Zone -> default subnet, for those of `zones` (empty: all) that have one; `BrokenRequest` where none has."""
    with aws.errors("look up the default network"):
        pages = aws.ec2.get_paginator("describe_subnets").paginate(
            Filters=[{"Name": "default-for-az", "Values": ["true"]}]
        )
        found = {subnet["AvailabilityZone"]: subnet["SubnetId"] for page in pages for subnet in page["Subnets"]}
    if not found:
        raise BrokenRequest(
            f"region {aws.region} has no default VPC with default subnets",
            hint=f"aws ec2 create-default-vpc --region {aws.region}",
        )
    chosen = {zone: subnet for zone, subnet in found.items() if zone in zones or not zones}
    if not chosen:
        raise BrokenRequest(
            f"none of the zones {', '.join(zones)} has a default subnet; "
            f"those that have one: {', '.join(sorted(found))}",
            hint=f"aws ec2 create-default-subnet --availability-zone {zones[0]} --region {aws.region}",
        )
    return chosen


def open_ingress(aws: Aws, *, run_id: str, cidr: str, tags: Mapping[str, str]) -> Ingress:
    """Let `cidr`, and nobody else, reach the run's machine by SSH; harmless when done twice, or at once.

    Called again with another address it moves the door there. The group lies in the default network; raises
    `BrokenRequest` where there is none.
    """
    permission = _permission(cidr)
    with aws.errors("open the way in"):
        group_id, made = _group(aws, run_id, tags)
        rule_id = _rule(aws, group_id, permission, run_id, tags)
        if not made:
            others = [rule for rule in _ways_in(aws, group_id) if _ours(rule) and _range(rule) != _cidr(permission)]
            _revoke(aws, group_id, [rule["SecurityGroupRuleId"] for rule in others])
    return Ingress(group_id=group_id, rule_id=rule_id)


def admit(aws: Aws, instance_id: str, group_id: str) -> None:
    """Put a machine into that security group, and out of any other; it must run (EC2 User Guide, "Change the security
    groups for your instance")."""
    with aws.errors("let the laptop in to the machine"):
        aws.ec2.modify_instance_attribute(InstanceId=instance_id, Groups=[group_id])


def follow_address(aws: Aws, *, run_id: str, tags: Mapping[str, str], address: str | None = None) -> str | None:
    """Let the run's door follow us: where our address has changed, the new one may come in and the old one no more.

    Gives the new address range, or `None` where the door stands right already. `address` is ours where the caller
    knows it. At most three calls, and one where nothing has changed; harmless when done twice, or at once. Raises
    `HostUnreachable` when our address cannot be learnt, `ProvisionError` when the run has no group any more.
    """
    permission = _permission(cidr_of(address or caller_address(aws)))
    wanted = _cidr(permission)
    with aws.errors("let the way in follow our address"):
        groups = aws.ec2.describe_security_groups(Filters=[tagging.of_run(run_id)])["SecurityGroups"]
        if not groups:
            raise ProvisionError(f"run {run_id} has no security group in {aws.region}", hint=f"gpurun status {run_id}")
        group_id = groups[0]["GroupId"]
        doors = _doors(groups[0]["IpPermissions"])
        if wanted not in doors:
            _authorise(aws, group_id, permission, run_id, tags)
        stale = [_permission(cidr) for cidr in doors if cidr != wanted]
        if stale:
            _revoke_ranges(aws, group_id, stale)
    return wanted if stale or wanted not in doors else None


def cidr_of(address: str) -> str:
    """The range that holds one address alone."""
    return f"{address}/{128 if ':' in address else 32}"


def close_ingress(aws: Aws, *, run_id: str, timeout_s: float = GROUP_RELEASE_TIMEOUT_S) -> None:
    """Close the run's door at once, then delete its groups, found by tag, as soon as no machine holds them.

    Raises `ProvisionError` when a group is still held after `timeout_s`.
    """
    with aws.errors("look up the run's security group"):
        answer = aws.ec2.describe_security_groups(Filters=[tagging.of_run(run_id)])
    for group in answer["SecurityGroups"]:
        delete_group(aws, group["GroupId"], timeout_s=timeout_s)


def delete_group(aws: Aws, group_id: str, *, timeout_s: float = GROUP_RELEASE_TIMEOUT_S) -> None:
    """Close and delete one security group; raises `ProvisionError` when still held after `timeout_s`."""
    with aws.errors("close the security group"):
        _revoke(aws, group_id, _rules(aws, group_id))
    remove_group(aws, group_id, timeout_s=timeout_s)


def remove_group(aws: Aws, group_id: str, *, timeout_s: float = GROUP_RELEASE_TIMEOUT_S) -> None:
    """Delete a security group, its rules with it, that no machine needs any more; raises as `delete_group` does."""
    with aws.errors("delete the security group"):
        if until(lambda: _deleted(aws, group_id), timeout_s, backoff(first_s=0.5, cap_s=8.0, factor=2.0)) is None:
            raise ProvisionError(
                f"security group {group_id} is closed but still held by a machine after {timeout_s:.0f} s",
                hint="gpurun gc",
                code="DependencyViolation",
            )


def _private_address(host: str) -> str | None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return None
    address = str(found[0][4][0])
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return address if parsed.is_loopback or parsed.is_private else None


def _source_towards(address: str) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))  # UDP: nothing is sent, the kernel only picks a source address
        return str(probe.getsockname()[0])


def _public_address(service: str) -> str:
    hint = f"it must be reachable from here, past any proxy or sign-in page: curl {service}"
    near = _private_address(urlsplit(service).hostname or "")
    # A proxy stands between us and the world, not between us and our own network.
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if near else []))
    try:
        with opener.open(service, timeout=5) as answer:
            text = answer.read(64).decode("ascii", "replace").strip()
    except (urllib.error.URLError, OSError) as error:
        raise HostUnreachable(f"cannot learn our public address from {service}: {error}", hint=hint) from error
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise HostUnreachable(f"{service} answered {text!r}, which is no IP address", hint=hint) from error


def _permission(cidr: str) -> IpPermissionTypeDef:
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError as error:
        raise SpecError(
            f"{cidr!r} is no address range: {error}", hint="an address and its mask, such as 203.0.113.7/32"
        ) from error
    permission: IpPermissionTypeDef = {"IpProtocol": "tcp", "FromPort": SSH_PORT, "ToPort": SSH_PORT}
    if network.version == 4:
        permission["IpRanges"] = [{"CidrIp": str(network), "Description": DESCRIPTION}]
    else:
        permission["Ipv6Ranges"] = [{"CidrIpv6": str(network), "Description": DESCRIPTION}]
    return permission


def _group(aws: Aws, run_id: str, tags: Mapping[str, str]) -> tuple[str, bool]:
    """The run's group in the default network, and whether it was made now."""
    name = f"gpurun-{run_id}"
    try:
        answer = aws.ec2.create_security_group(
            GroupName=name,
            Description=f"SSH for gpurun run {run_id}",
            TagSpecifications=[tagging.at_birth("security-group", run_id, tags)],
        )
    except ClientError as error:
        if code_of(error) != "InvalidGroup.Duplicate":
            raise
        there = aws.ec2.describe_security_groups(
            Filters=[{"Name": "group-name", "Values": [name]}, tagging.of_run(run_id)]
        )
        return there["SecurityGroups"][0]["GroupId"], False
    return answer["GroupId"], True


def _rule(aws: Aws, group_id: str, permission: IpPermissionTypeDef, run_id: str, tags: Mapping[str, str]) -> str:
    made = _authorise(aws, group_id, permission, run_id, tags)
    return made or _rule_there(aws, group_id, _cidr(permission))


def _authorise(
    aws: Aws, group_id: str, permission: IpPermissionTypeDef, run_id: str, tags: Mapping[str, str]
) -> str | None:
    """The id of the rule that was made; `None` where there was one already."""
    try:
        answer = aws.ec2.authorize_security_group_ingress(
            GroupId=group_id,
            IpPermissions=[permission],
            TagSpecifications=[tagging.at_birth("security-group-rule", run_id, tags)],
        )
    except ClientError as error:
        if code_of(error) != "InvalidPermission.Duplicate":
            raise
        return None
    return answer["SecurityGroupRules"][0]["SecurityGroupRuleId"]


def _rule_there(aws: Aws, group_id: str, cidr: str) -> str:
    """The rule that EC2 says is there already, though a look-up may show it a moment later."""

    def look() -> str | None:
        return next((rule for rule, where in _rules(aws, group_id).items() if where == cidr), None)

    found = until(look, RULE_TIMEOUT_S)
    if found is None:
        raise ProvisionError(f"group {group_id} has a rule for {cidr} that cannot be found", hint="gpurun gc")
    return found


def _cidr(permission: IpPermissionTypeDef) -> str:
    narrow = [each.get("CidrIp", "") for each in permission.get("IpRanges", [])]
    wide = [each.get("CidrIpv6", "") for each in permission.get("Ipv6Ranges", [])]
    return (narrow + wide)[0]


def _doors(permissions: Sequence[IpPermissionOutputTypeDef]) -> list[str]:
    """The ranges that may come in by SSH through doors of ours: what a user added by hand has another description."""
    ours = [each for each in permissions if (each.get("FromPort"), each.get("ToPort")) == (SSH_PORT, SSH_PORT)]
    narrow = [each for permission in ours for each in permission.get("IpRanges", [])]
    wide = [each for permission in ours for each in permission.get("Ipv6Ranges", [])]
    found = [each.get("CidrIp", "") for each in narrow if each.get("Description") == DESCRIPTION]
    return found + [each.get("CidrIpv6", "") for each in wide if each.get("Description") == DESCRIPTION]


def _rules(aws: Aws, group_id: str) -> dict[str, str]:
    """Rule id -> address range, of the group's ways in."""
    return {rule["SecurityGroupRuleId"]: _range(rule) for rule in _ways_in(aws, group_id)}


def _ways_in(aws: Aws, group_id: str) -> list[SecurityGroupRuleTypeDef]:
    answer = aws.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group_id]}])
    return [rule for rule in answer["SecurityGroupRules"] if not rule["IsEgress"]]


def _range(rule: SecurityGroupRuleTypeDef) -> str:
    return rule.get("CidrIpv4") or rule.get("CidrIpv6", "")


def _ours(rule: SecurityGroupRuleTypeDef) -> bool:
    """Whether it is a door of ours for SSH, and none that a user added by hand."""
    ports = (rule.get("FromPort"), rule.get("ToPort"))
    return ports == (SSH_PORT, SSH_PORT) and rule.get("Description") == DESCRIPTION


def _revoke(aws: Aws, group_id: str, rule_ids: Sequence[str] | Mapping[str, str]) -> None:
    if not rule_ids:
        return
    try:
        aws.ec2.revoke_security_group_ingress(GroupId=group_id, SecurityGroupRuleIds=list(rule_ids))
    except ClientError as error:
        if not code_of(error).endswith(".NotFound"):
            raise


def _revoke_ranges(aws: Aws, group_id: str, permissions: Sequence[IpPermissionTypeDef]) -> None:
    try:
        aws.ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=list(permissions))
    except ClientError as error:
        if not code_of(error).endswith(".NotFound"):
            raise


def _deleted(aws: Aws, group_id: str) -> bool | None:
    try:
        aws.ec2.delete_security_group(GroupId=group_id)
    except ClientError as error:
        if code_of(error) == "InvalidGroup.NotFound":
            return True
        if code_of(error) in {"DependencyViolation", "InvalidGroup.InUse"}:
            return None
        raise
    return True
