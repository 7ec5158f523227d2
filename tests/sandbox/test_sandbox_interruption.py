"""The agent on a machine whose end the cloud announces: real metadata, real signals, a real power-off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from launcher import lifeline
from launcher.domain import Device, Endpoint, FloatX, Interruption
from launcher.sandbox.control import Sandbox
from launcher.sync import remote_agent, stream
from launcher.sync.layout import RemoteLayout
from launcher.sync.remote_agent import AgentJob
from launcher.sync.ssh.keys import generate, host_key_of, write_private
from launcher.sync.wire.lines import Lines

LAYOUT = RemoteLayout("spot-run")
JOB = """
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: print("saved", flush=True))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("left", flush=True) or 0))
print("ready", flush=True)
while True:
    signal.pause()
"""


@dataclass
class Spot:
    """A spot machine as gpurun launches one, and the lines to it."""

    cloud: Any
    folder: Path
    lines: list[Lines] = field(default_factory=list)

    def machine(self) -> tuple[str, Lines]:
        host, user, name = generate("host"), generate("user"), f"k-{time.monotonic_ns()}"
        write_private(self.folder / "key", user.private_pem)
        self.cloud.ec2.import_key_pair(KeyName=name, PublicKeyMaterial=user.public_line.encode())
        group = self.cloud.group(name)
        door = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "127.0.0.1/32"}]}
        self.cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[door])
        data = lifeline.user_data(
            deadline=datetime.now(UTC) + timedelta(hours=1),
            host_key_private=host.private_pem,
            host_key_public=host.public_line,
        )
        (machine,) = self.cloud.run(
            KeyName=name,
            SecurityGroupIds=[group],
            UserData=data,
            InstanceInitiatedShutdownBehavior="terminate",
            InstanceMarketOptions={"MarketType": "spot"},
            MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        )
        shown = self.cloud.until(machine, "running")
        endpoint = Endpoint(
            address=shown["PublicIpAddress"],
            user="ubuntu",
            host_keys=(host_key_of(host.public_line),),
            key_file=self.folder / "key",
            config_file=self.cloud.sandbox.account.ssh_config_file,
        )
        self.lines.append(Lines(endpoint))
        return machine, self.lines[-1]


@pytest.fixture
def spot(sandbox: Sandbox, region_of: Callable[[Sandbox], Any], tmp_path: Path) -> Iterator[Spot]:
    found = Spot(cloud=region_of(sandbox), folder=tmp_path)
    yield found
    for lines in found.lines:
        lines.close()
    found.cloud.end_all()


def order(**changes: Any) -> AgentJob:
    values: dict[str, Any] = {
        "argv": ["python3", "-c", JOB],
        "device": Device.CPU,
        "floatx": FloatX.FLOAT32,
        "grace_s": 90.0,
        "deadline_in_s": 3000.0,
        "machine_deadline_in_s": 3300.0,
        "results_grace_s": 600.0,
        "lease_s": 60.0,
    }
    return AgentJob(**{**values, **changes})


def test_a_job_saves_goes_on_and_leaves_before_its_machine_is_taken(spot: Spot) -> None:
    machine, lines = spot.machine()
    connection = lines.control.fresh(30.0)
    remote_agent.start(connection, LAYOUT, order(stop_reserve_s=6.0))
    told: list[tuple[float, Interruption]] = []

    def hear(event: stream.Event) -> None:
        if isinstance(event, Interruption):
            told.append((time.monotonic(), event))

    follower = stream.follow(lambda: lines.log.fresh(20.0), LAYOUT, on_event=hear)
    log = next(follower)
    spot.cloud.admin.interrupt(machine, in_s=20.0)
    given = time.monotonic()
    log += b"".join(follower)
    left = time.monotonic() - given
    assert log == b"ready\nsaved\nleft\n"
    ((heard, notice),) = told
    assert heard - given < 8.0
    assert notice.ends_in_s is not None
    assert abs(heard + notice.ends_in_s - (given + 20.0)) < 2.5
    assert 10.0 < left < 15.0
    assert (follower.report.exit_status, follower.report.ended_by) == (0, "interruption")
    ended = spot.cloud.until(machine, "terminated")
    assert ended["StateReason"]["Code"] == "Server.SpotInstanceTermination"


def test_the_supervisor_alone_ends_a_machine_at_its_deadline(spot: Spot) -> None:
    machine, lines = spot.machine()
    connection = lines.control.fresh(30.0)
    stubborn = order(argv=[], script="trap '' TERM; sleep 600", machine_deadline_in_s=3.0, lease_s=600.0)
    remote_agent.start(connection, LAYOUT, stubborn)
    ended = spot.cloud.until(machine, "terminated")
    assert ended["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
