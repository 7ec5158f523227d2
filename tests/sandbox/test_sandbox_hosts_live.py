"""The cloud and its hosts together: what EC2 says and what SSH finds are one thing."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko
import psutil
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from launcher.sandbox import control
from launcher.sandbox.client import SandboxClient
from launcher.sandbox.control import Sandbox


@dataclass
class Laptop:
    """Somebody with a key, an open group and an ssh_config."""

    cloud: Any
    key: paramiko.Ed25519Key
    key_name: str
    group: str

    def machine(self, **more: Any) -> str:
        (instance_id,) = self.cloud.run(KeyName=self.key_name, SecurityGroupIds=[self.group], **more)
        self.cloud.until(instance_id, "running")
        return instance_id

    def connect(self, instance_id: str, timeout_s: float = 10.0) -> paramiko.Transport:
        address = self.cloud.instance(instance_id)["PublicIpAddress"]
        file = str(self.cloud.sandbox.account.ssh_config_file)
        deadline = time.monotonic() + timeout_s
        while True:
            config = paramiko.SSHConfig.from_path(file).lookup(address)
            try:
                return self.log_in(config["hostname"], int(config["port"]))
            except (OSError, EOFError, paramiko.SSHException):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def log_in(self, host: str, port: int) -> paramiko.Transport:
        with ExitStack() as undo:
            plug = undo.enter_context(socket.create_connection((host, port), timeout=2))
            line = paramiko.Transport(plug)
            undo.callback(line.close)
            line.start_client(timeout=2)
            line.auth_publickey("ubuntu", self.key)
            undo.pop_all()
            return line

    def sh(self, instance_id: str, command: str) -> str:
        line = self.connect(instance_id)
        try:
            channel = line.open_session()
            channel.settimeout(20)
            channel.exec_command(command)
            return channel.makefile().read().decode()
        finally:
            line.close()


@pytest.fixture
def laptop(sandbox: Sandbox, region_of: Any) -> Iterator[Laptop]:
    cloud = region_of(sandbox)
    key = Ed25519PrivateKey.generate()
    openssh, raw = serialization.Encoding.OpenSSH, serialization.Encoding.PEM
    public = key.public_key().public_bytes(openssh, serialization.PublicFormat.OpenSSH)
    private = key.private_bytes(raw, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()).decode()
    name = f"k-{time.monotonic_ns()}"
    cloud.ec2.import_key_pair(KeyName=name, PublicKeyMaterial=public)
    group = cloud.group(name)
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "127.0.0.1/32"}]}
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])
    yield Laptop(
        cloud=cloud, key=paramiko.Ed25519Key.from_private_key(io.StringIO(private)), key_name=name, group=group
    )
    cloud.end_all()
    cloud.admin.clear_faults()


def test_a_machine_answers_ssh_at_its_address_and_is_gone_when_terminated(laptop: Laptop) -> None:
    machine = laptop.machine()
    assert laptop.sh(machine, "echo $((6*7))") == "42\n"
    (shown,) = [each for each in laptop.cloud.admin.instances() if each["instance_id"] == machine]
    assert shown["host"] == "up"
    laptop.cloud.ec2.terminate_instances(InstanceIds=[machine])
    laptop.cloud.until(machine, "terminated")
    config = laptop.cloud.sandbox.account.ssh_config_file
    assert machine not in config.read_text()
    assert not (laptop.cloud.sandbox.state / "hosts" / machine).exists()
    with pytest.raises((OSError, EOFError, paramiko.SSHException)):
        laptop.log_in("127.0.0.1", shown["ssh_port"])


def test_a_guest_that_powers_off_ends_its_instance(laptop: Laptop) -> None:
    machine = laptop.machine(InstanceInitiatedShutdownBehavior="terminate")
    laptop.sh(machine, "sudo shutdown -h now")
    ended = laptop.cloud.until(machine, "terminated")
    assert ended["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_a_guest_that_powers_off_is_stopped_where_that_is_asked_and_keeps_its_disk(laptop: Laptop) -> None:
    machine = laptop.machine(InstanceInitiatedShutdownBehavior="stop")
    laptop.sh(machine, "echo kept > ~/note; sudo shutdown -h now")
    laptop.cloud.until(machine, "stopped")
    laptop.cloud.ec2.start_instances(InstanceIds=[machine])
    laptop.cloud.until(machine, "running")
    assert laptop.sh(machine, "cat ~/note") == "kept\n"


def test_a_reboot_keeps_the_disk_and_the_instance(laptop: Laptop) -> None:
    machine = laptop.machine()
    laptop.sh(machine, "echo kept > ~/note")
    line = laptop.connect(machine)
    laptop.cloud.ec2.reboot_instances(InstanceIds=[machine])
    laptop.cloud.wait(line.is_active, lambda active: not active)
    line.close()
    assert laptop.sh(machine, "cat ~/note") == "kept\n"
    assert laptop.cloud.instance(machine)["State"]["Name"] == "running"


def test_a_killed_host_is_dead_while_ec2_says_running(laptop: Laptop) -> None:
    machine = laptop.machine()
    line = laptop.connect(machine)
    assert laptop.cloud.admin.kill(machine)["host"] == "dead"
    laptop.cloud.wait(line.is_active, lambda active: not active)
    line.close()
    assert laptop.cloud.instance(machine)["State"]["Name"] == "running"


def test_a_partition_stalls_and_heals_without_a_reset(laptop: Laptop) -> None:
    machine = laptop.machine()
    line = laptop.connect(machine)
    laptop.cloud.admin.partition(machine, cut=True)
    with pytest.raises((paramiko.SSHException, EOFError)):
        line.open_session(timeout=0.7)
    assert line.is_active()
    laptop.cloud.admin.partition(machine, cut=False)
    healed = line.open_session(timeout=10)
    healed.exec_command("echo back")
    assert healed.makefile().read() == b"back\n"
    line.close()


def test_a_closed_group_lets_nobody_in(laptop: Laptop) -> None:
    machine = laptop.machine()
    laptop.sh(machine, "true")
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "127.0.0.1/32"}]}
    laptop.cloud.ec2.revoke_security_group_ingress(GroupId=laptop.group, IpPermissions=[permission])
    with pytest.raises((OSError, EOFError, paramiko.SSHException)):
        laptop.connect(machine, timeout_s=1)


def test_the_console_can_be_read(laptop: Laptop) -> None:
    machine = laptop.machine(UserData="#!/bin/sh\necho console-says-hello\n")
    laptop.sh(machine, "true")

    def output() -> str:
        return laptop.cloud.ec2.get_console_output(InstanceId=machine).get("Output", "")

    laptop.cloud.wait(output, lambda text: "console-says-hello" in text)


def test_what_a_killed_sandbox_left_is_swept_away(tmp_path: Path, region_of: Any) -> None:
    state = tmp_path / "sandbox"
    running = control.start(state)
    cloud = region_of(running)
    for machine in cloud.run(2):
        cloud.until(machine, "running")
    os.kill(running.pid, signal.SIGKILL)
    assert control.stop(state) is True
    assert not state.exists()
    assert _marked(str(state)) == []


def test_a_stopped_sandbox_leaves_no_host(tmp_path: Path, region_of: Any) -> None:
    state = tmp_path / "sandbox"
    running = control.start(state)
    assert SandboxClient(running.endpoint_url).status()["hosts"] in {"namespaces", "loopback"}
    cloud = region_of(running)
    for machine in cloud.run(2):
        cloud.until(machine, "running")
    assert control.stop(state) is True
    assert _marked(str(state)) == []
    assert list(tmp_path.iterdir()) == []


def _marked(state: str) -> list[int]:
    """Processes that carry the folder's name in their environment, as every host's do; ours does not."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and any(state in value for value in process.environ().values()):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.namespaces
def test_an_image_without_what_it_held_boots_no_empty_machine(laptop: Laptop) -> None:
    cloud, machine = laptop.cloud, laptop.machine()
    image = cloud.ec2.create_image(InstanceId=machine, Name=f"lost-{time.monotonic_ns()}")["ImageId"]
    shown = cloud.wait(
        lambda: cloud.ec2.describe_images(ImageIds=[image])["Images"][0], lambda each: each["State"] == "available"
    )
    snapshot = shown["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    (good,) = cloud.run(ImageId=image)
    cloud.until(good, "running")
    shutil.rmtree(cloud.sandbox.state / "snapshots" / snapshot)
    (lost,) = cloud.run(ImageId=image)
    assert cloud.until(lost, "terminated")["StateReason"]["Code"] == "Server.InternalError"
    assert f"what {image} held is not there any more" in (cloud.sandbox.state / "log").read_text()
    cloud.ec2.deregister_image(ImageId=image)
    cloud.ec2.delete_snapshot(SnapshotId=snapshot)
