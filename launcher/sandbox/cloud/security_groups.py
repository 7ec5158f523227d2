"""Who may come in: an instance's security groups, read live at each connection."""

from __future__ import annotations

import ipaddress
from typing import Any


def admits(instance: Any, peer: str, port: int) -> bool:
    """Whether a rule of one of the instance's groups lets `peer` reach the TCP `port`."""
    groups = {group.id: group for nic in instance.nics.values() for group in nic.group_set}
    rules = (rule for group in groups.values() for rule in list(group.ingress_rules))
    return any(_covers(rule, port) and _lets_in(instance, rule, peer) for rule in rules)


def _covers(rule: Any, port: int) -> bool:
    if rule.ip_protocol == "-1":
        return True
    return bool(rule.ip_protocol == "tcp" and rule.from_port <= port <= rule.to_port)


def _lets_in(instance: Any, rule: Any, peer: str) -> bool:
    cidr = rule.cidr_ipv4 or rule.cidr_ipv6
    if cidr:
        return ipaddress.ip_address(peer) in ipaddress.ip_network(cidr, strict=False)
    source = rule.source_group.get("GroupId")
    return source is not None and peer in _addresses_in(instance.ec2_backend, source)


def _addresses_in(backend: Any, group_id: str) -> set[str]:
    members = (nic for nic in list(backend.enis.values()) if group_id in {group.id for group in nic.group_set})
    return {nic.private_ip_address for nic in members}


def user_of(backend: Any, group_id: str) -> str | None:
    """The network interface that still uses the group, or the group whose rules name it."""
    for nic in list(backend.enis.values()):
        if group_id in {group.id for group in nic.group_set}:
            return str(nic.id)
    for groups in list(backend.groups.values()):
        for group in list(groups.values()):
            named = {rule.source_group.get("GroupId") for rule in [*group.ingress_rules, *group.egress_rules]}
            if group.id != group_id and group_id in named:
                return str(group.id)
    return None
