"""The metadata service: tokens, what they guard, and what the tree holds."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.sandbox.cloud.guest import Guest
from launcher.sandbox.cloud.metadata import answer
from launcher.sandbox.cloud.security_groups import admits
from launcher.sandbox.cloud.settings import Settings

TTL = "x-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "x-aws-ec2-metadata-token"


@dataclass
class Options:
    http_tokens: str = "required"
    http_endpoint: str = "enabled"
    instance_metadata_tags: str = "enabled"


@dataclass
class Rule:
    ip_protocol: str = "tcp"
    from_port: int = 22
    to_port: int = 22
    cidr_ipv4: str | None = None
    cidr_ipv6: str | None = None
    source_group: dict[str, str] = field(default_factory=dict)


@dataclass
class Group:
    id: str = "sg-1"
    name: str = "door"
    ingress_rules: list[Rule] = field(default_factory=list)


@dataclass
class Interface:
    group_set: list[Group] = field(default_factory=list)
    private_ip_address: str = "172.31.0.4"


@dataclass
class Shown:
    """An instance with what the metadata service reads of it."""

    id: str = "i-1"
    image_id: str = "ami-1"
    instance_type: str = "g5.xlarge"
    ami_launch_index: int = 0
    lifecycle: str | None = "spot"
    private_dns_name: str = "ip-172-31-0-4.ec2.internal"
    public_dns_name: str = ""
    private_ip: str = "172.31.0.4"
    public_ip: str = "198.18.1.0"
    availability_zone: str = "us-east-1b"
    region_name: str = "us-east-1"
    subnet_id: str = "subnet-1"
    vpc_id: str = "vpc-1"
    owner_id: str = "123456789012"
    architecture: str = "x86_64"
    launch_time: datetime = field(default_factory=lambda: datetime(2026, 11, 20, tzinfo=UTC))
    metadata_options: Options = field(default_factory=Options)
    identity: Any = None
    security_groups: list[Group] = field(default_factory=lambda: [Group()])
    nics: dict[int, Interface] = field(default_factory=dict)
    ec2_backend: Any = None

    def get_tags(self) -> list[dict[str, str]]:
        return [{"key": "gpurun:run", "value": "r1"}]


@pytest.fixture
def guest() -> Guest:
    return Guest(
        instance=Shown(),
        user_data=b"#!/bin/sh\n\xff",
        authorized_key="ssh-ed25519 AAAA me",
        mac="02:00",
        birth=Settings(),
    )


def token(guest: Guest, ttl: str = "60") -> str:
    return answer(guest, "PUT", "/latest/api/token", {TTL: ttl}).body.decode()


def read(guest: Guest, path: str) -> str:
    found = answer(guest, "GET", f"/latest/{path}", {TOKEN: token(guest)})
    assert found.status == 200, path
    return found.body.decode()


def test_without_a_token_nothing_is_told(guest: Guest) -> None:
    assert answer(guest, "GET", "/latest/meta-data/instance-id", {}).status == 401
    assert answer(guest, "GET", "/latest/user-data", {TOKEN: "guessed"}).status == 401


def test_version_one_works_where_it_is_allowed(guest: Guest) -> None:
    guest.instance.metadata_options.http_tokens = "optional"
    assert answer(guest, "GET", "/latest/meta-data/instance-id", {}).body == b"i-1"
    assert answer(guest, "GET", "/latest/meta-data/instance-id", {TOKEN: "guessed"}).status == 401


def test_a_token_ends_with_its_time(guest: Guest) -> None:
    mine = token(guest, "1")
    assert answer(guest, "GET", "/latest/meta-data/", {TOKEN: mine}).status == 200
    guest.tokens[mine] = time.monotonic() - 0.001
    assert answer(guest, "GET", "/latest/meta-data/", {TOKEN: mine}).status == 401


@given(ttl=st.one_of(st.integers().filter(lambda n: not 1 <= n <= 21600).map(str), st.text(max_size=5)))
def test_a_nonsense_lifetime_gets_no_token(ttl: str) -> None:
    guest = Guest(instance=Shown(), user_data=b"", authorized_key=None, mac="02:00", birth=Settings())
    if ttl.isdecimal() and ttl.isascii() and 1 <= int(ttl) <= 21600:
        return
    assert answer(guest, "PUT", "/latest/api/token", {TTL: ttl}).status == 400
    assert guest.tokens == {}


def test_a_disabled_service_forbids_all(guest: Guest) -> None:
    guest.instance.metadata_options.http_endpoint = "disabled"
    assert answer(guest, "PUT", "/latest/api/token", {TTL: "60"}).status == 403


def test_the_tree_can_be_walked_from_its_root(guest: Guest) -> None:
    leaves, waiting = set(), [""]
    while waiting:
        folder = waiting.pop()
        for name in read(guest, folder).split("\n"):
            if name.endswith("/"):
                waiting.append(folder + name)
            else:
                leaves.add(folder + name)
    assert {"meta-data/instance-id", "meta-data/placement/availability-zone", "user-data"} <= leaves
    assert "meta-data/tags/instance/gpurun:run" in leaves
    assert "meta-data/spot/instance-action" not in leaves


def test_what_it_says(guest: Guest) -> None:
    assert read(guest, "meta-data/placement/region") == "us-east-1"
    assert read(guest, "meta-data/public-keys/0/openssh-key") == "ssh-ed25519 AAAA me"
    assert read(guest, "meta-data/instance-life-cycle") == "spot"
    assert json.loads(read(guest, "dynamic/instance-identity/document"))["instanceId"] == "i-1"
    assert answer(guest, "GET", "/latest/user-data", {TOKEN: token(guest)}).body == b"#!/bin/sh\n\xff"
    assert answer(guest, "GET", "/2021-07-15/meta-data/ami-id", {TOKEN: token(guest)}).body == b"ami-1"
    assert answer(guest, "GET", "/latest/meta-data/nothing", {TOKEN: token(guest)}).status == 404


def test_notices_appear_when_they_are_given(guest: Guest) -> None:
    guest.notice_at = 1763683200.0
    guest.rebalance_at = 1763683100.0
    action = json.loads(read(guest, "meta-data/spot/instance-action"))
    assert action == {"action": "terminate", "time": "2025-11-21T00:00:00Z"}
    rebalance = json.loads(read(guest, "meta-data/events/recommendations/rebalance"))
    assert rebalance == {"noticeTime": "2025-11-20T23:58:20Z"}


@pytest.mark.parametrize(
    ("rule", "peer", "port", "let_in"),
    [
        (Rule(cidr_ipv4="127.0.0.1/32"), "127.0.0.1", 22, True),
        (Rule(cidr_ipv4="127.0.0.1/32"), "127.0.0.2", 22, False),
        (Rule(cidr_ipv4="127.0.0.1/32"), "127.0.0.1", 23, False),
        (Rule(cidr_ipv4="10.0.0.0/8", from_port=0, to_port=65535), "10.9.8.7", 8080, True),
        (Rule(cidr_ipv4="0.0.0.0/0", ip_protocol="udp"), "1.2.3.4", 22, False),
        (Rule(cidr_ipv4="0.0.0.0/0", ip_protocol="-1"), "1.2.3.4", 4444, True),
        (Rule(cidr_ipv6="::/0"), "1.2.3.4", 22, False),
    ],
)
def test_groups_let_in_whom_their_rules_name(rule: Rule, peer: str, port: int, let_in: bool) -> None:
    instance = Shown(nics={0: Interface(group_set=[Group(ingress_rules=[rule])])})
    assert admits(instance, peer, port) is let_in


def test_a_group_lets_in_the_members_of_another() -> None:
    friend = Interface(group_set=[Group(id="sg-2")], private_ip_address="172.31.9.9")

    backend = SimpleNamespace(enis={"eni-1": friend})
    door = Group(ingress_rules=[Rule(source_group={"GroupId": "sg-2"})])
    instance = Shown(nics={0: Interface(group_set=[door])}, ec2_backend=backend)
    assert admits(instance, "172.31.9.9", 22)
    assert not admits(instance, "172.31.9.8", 22)


def test_without_a_rule_nobody_comes_in() -> None:
    assert not admits(Shown(nics={0: Interface(group_set=[Group()])}), "127.0.0.1", 22)
