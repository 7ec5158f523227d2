"""The laptop moves: the cloud sees it under another address, and judges it by that."""

from __future__ import annotations

import socket
import urllib.request
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.aws import network
from launcher.aws.client import Aws
from launcher.errors import GpurunError
from launcher.sandbox.client import SandboxClient
from launcher.sandbox.cloud import security_groups

HOME, CAFE, WIDE = "127.0.0.1", "198.51.100.7", "2001:db8::7"


@pytest.fixture
def moving(sandbox: Any) -> Any:
    admin = SandboxClient(sandbox.endpoint_url)
    yield admin
    admin.move(HOME)


def greeting(port: int, within_s: float) -> bytes:
    """What it says first; nothing where it is silent, or not there yet."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as line:
            line.settimeout(within_s)
            return line.recv(4)
    except (TimeoutError, ConnectionRefusedError):
        return b""


def drain(line: socket.socket) -> None:
    while line.recv(4096):
        pass


def test_the_address_service_tells_the_address_and_gpurun_asks_it(sandbox: Any, moving: SandboxClient) -> None:
    aws = Aws(sandbox.account)
    assert network.caller_address(aws) == HOME
    for address in (CAFE, WIDE):
        moving.move(address)
        assert network.caller_address(aws) == moving.address == address
    with urllib.request.urlopen(aws.checkip_url) as answer:
        assert answer.read() == f"{WIDE}\n".encode()


@pytest.mark.parametrize("address", ["", "home", "198.51.100.7/32", "198.51.100.256"])
def test_what_is_no_address_is_refused_and_changes_nothing(moving: SandboxClient, address: str) -> None:
    with pytest.raises(GpurunError, match="does not appear to be an IPv4 or IPv6 address"):
        moving.move(address)
    assert moving.address == HOME


@pytest.mark.parametrize("address", [CAFE, WIDE])
def test_the_door_shuts_when_the_laptop_moves_and_opens_when_it_follows(
    sandbox: Any, moving: SandboxClient, region_of: Any, address: str
) -> None:
    place, aws = region_of(sandbox), Aws(sandbox.account)
    tags = {"gpurun:run": "r-moving"}
    ingress = network.open_ingress(aws, run_id="r-moving", cidr=network.cidr_of(network.caller_address(aws)), tags=tags)
    (instance_id,) = place.run(SecurityGroupIds=[ingress.group_id])
    try:
        place.until(instance_id, "running")
        (machine,) = [each for each in moving.instances() if each["instance_id"] == instance_id]
        place.wait(lambda: greeting(machine["ssh_port"], 1), lambda said: said == b"SSH-")
        with socket.create_connection(("127.0.0.1", machine["ssh_port"])) as old:
            assert old.recv(4) == b"SSH-"
            moving.move(address)
            assert greeting(machine["ssh_port"], 0.5) == b""
            assert network.follow_address(aws, run_id="r-moving", tags=tags) == network.cidr_of(address)
            assert greeting(machine["ssh_port"], 5) == b"SSH-"
            old.sendall(b"SSH-2.0-test\r\n" + bytes(100))
            old.settimeout(0.5)
            with pytest.raises(TimeoutError):  # neither an answer nor an end
                drain(old)
    finally:
        place.end_all()
        network.close_ingress(aws, run_id="r-moving")


def test_groups_judge_both_families() -> None:
    rule = SimpleNamespace(
        ip_protocol="tcp", from_port=22, to_port=22, cidr_ipv4=None, cidr_ipv6="2001:db8::/32", source_group={}
    )
    nic = SimpleNamespace(group_set=[SimpleNamespace(id="sg-1", ingress_rules=[rule])])
    instance = SimpleNamespace(nics={0: nic})
    assert security_groups.admits(instance, WIDE, 22)
    assert not security_groups.admits(instance, CAFE, 22)
