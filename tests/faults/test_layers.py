"""The laptop is killed for good while the job runs: each layer of the lifeline ends the machine alone.

Who looks on is plain boto3; what takes a layer away is a signal inside the host, or a call of the cloud's own API.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from launcher.sandbox.client import SandboxClient
from tests.e2e.conftest import Laptop

LIVES_S = 25.0
"""From the launch to the deadline; where half of it is over before all jobs run, another try has twice as much."""
LATE_S = 5.0
"""How late a machine may be gone here; AWS's scheduler may take a minute more."""
ENDLESS = "trap '' TERM; echo begun; while :; do sleep 0.05; done\n"


@dataclass(frozen=True, kw_only=True)
class Observer:
    """What EC2 and EventBridge Scheduler say to anybody who asks."""

    ec2: Any
    scheduler: Any

    def machine(self, run_id: str) -> dict:
        found = self.ec2.describe_instances(Filters=[{"Name": "tag:gpurun:run", "Values": [run_id]}])
        (machine,) = [each for one in found["Reservations"] for each in one["Instances"]]
        return machine

    def state(self, run_id: str) -> str:
        return self.machine(run_id)["State"]["Name"]

    def switches(self, run_id: str) -> list[str]:
        rows = self.scheduler.list_schedules(GroupName="gpurun")["Schedules"]
        return [row["Name"] for row in rows if run_id in row["Name"]]

    def left_s(self, run_id: str) -> float:
        """Seconds until the deadline that the machine's tag tells."""
        tags = {tag["Key"]: tag["Value"] for tag in self.machine(run_id)["Tags"]}
        return (datetime.fromisoformat(tags["gpurun:deadline"]) - datetime.now(UTC)).total_seconds()

    def gone_after_deadline_s(self, run_id: str) -> float:
        """Wait for its end; gives the seconds from the deadline to then."""
        while self.state(run_id) != "terminated":
            assert self.left_s(run_id) > -LATE_S, "it still runs"
            time.sleep(0.05)
        return -self.left_s(run_id)


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """A run whose laptop is dead."""

    laptop: Laptop
    run_id: str
    sees: Observer

    def stop_layer_1(self) -> None:
        """Cancel the OS shutdown as a person would, and stop the timer and the supervisor where they stand."""
        if self.laptop.gpurun("ssh", self.run_id, "--", "sudo shutdown -c").returncode:
            raise AssertionError("the shutdown was not cancelled")
        instance_id = self.sees.machine(self.run_id)["InstanceId"]
        stopped = [process for process in psutil.process_iter() if self._is_of_layer_1(process, instance_id)]
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        commands = [" ".join(process.cmdline()) for process in stopped]
        assert any("shutdown -h now" in command for command in commands), "the timer"
        assert any("agent.supervise" in command for command in commands), "the supervisor"

    def remove_layer_2(self) -> None:
        (name,) = self.sees.switches(self.run_id)
        self.sees.scheduler.delete_schedule(GroupName="gpurun", Name=name)

    def _is_of_layer_1(self, process: psutil.Process, instance_id: str) -> bool:
        with suppress(psutil.Error, OSError):
            if "agent.supervise" in " ".join(process.cmdline()):
                return any(self.run_id in word for word in process.cmdline())
            return process.environ().get("INSTANCE_ID") == instance_id and process.name() in {"sh", "sleep"}
        return False


@pytest.fixture(scope="module")
def observer(cloud) -> Observer:
    def client(service: str) -> Any:
        keys = {"aws_access_key_id": "observer", "aws_secret_access_key": "observer"}
        return boto3.client(service, region_name="us-east-1", endpoint_url=cloud.endpoint_url, **keys)

    return Observer(ec2=client("ec2"), scheduler=client("scheduler"))


@pytest.fixture
def orphans(tmp_path_factory: pytest.TempPathFactory, cloud, observer) -> Iterator[list[Orphan]]:
    """Three runs at once whose laptops are dead, with enough of their time left."""
    lives_s = LIVES_S
    while True:
        found = [
            Orphan(laptop=each, run_id=_only_run(each), sees=observer)
            for each in _dead(tmp_path_factory, cloud, lives_s)
        ]
        if min(observer.left_s(each.run_id) for each in found) > lives_s / 2:
            break
        lives_s *= 2
    yield found
    ids = [instance["InstanceId"] for each in found for instance in each.laptop.living()]
    if ids:
        observer.ec2.terminate_instances(InstanceIds=ids)


def _dead(tmp_path_factory: pytest.TempPathFactory, cloud, lives_s: float) -> list[Laptop]:
    """SIGKILL to the whole process group, once the job had started."""
    laptops = [_laptop(tmp_path_factory.mktemp("layers"), cloud) for _ in range(3)]
    for laptop in laptops:
        laptop.start("launch", "--sandbox", laptop.job(ENDLESS), "--max-hours", f"{lives_s / 3600:.6f}")
    for laptop in laptops:
        laptop.wait_for_event("job.started", timeout_s=lives_s + 60)
        os.killpg(laptop.started[0].pid, signal.SIGKILL)
        laptop.started[0].wait()
    return laptops


def _only_run(laptop: Laptop) -> str:
    return laptop.runs()[0]["run_id"]


def _laptop(home: Path, cloud) -> Laptop:
    it = Laptop(home=home, cloud=cloud)
    it.work.mkdir()
    it.state.home.mkdir(parents=True, mode=0o700)
    it.state.sandbox.symlink_to(cloud.state)
    return it


@pytest.mark.slow
def test_each_layer_alone_ends_the_machine_of_a_dead_laptop(orphans, cloud, tmp_path):
    by_timer, by_switch, by_gc = orphans
    sees = by_timer.sees
    by_timer.remove_layer_2()
    by_switch.stop_layer_1()
    by_gc.remove_layer_2()
    by_gc.stop_layer_1()
    assert [sees.state(each.run_id) for each in orphans] == ["running"] * 3

    assert -1 < sees.gone_after_deadline_s(by_timer.run_id) < LATE_S
    assert sees.machine(by_timer.run_id)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"

    assert -1 < sees.gone_after_deadline_s(by_switch.run_id) < LATE_S
    assert sees.machine(by_switch.run_id)["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert sees.switches(by_switch.run_id) == [], "it removes itself"
    ended = [call for call in SandboxClient(cloud.endpoint_url).journal() if call["action"] == "TerminateInstances"]
    assert [call["access_key"] for call in ended if sees.machine(by_switch.run_id)["InstanceId"] in str(call)] == [
        "ASIASANDBOXSCHEDULER"
    ]

    while sees.left_s(by_gc.run_id) > -1:
        time.sleep(0.05)
    assert sees.state(by_gc.run_id) == "running", "nothing else ends it"
    other = _laptop(tmp_path, cloud)  # it has no ledger of that run: tags alone tell
    collected = other.gpurun("gc", "--sandbox", "--yes")
    assert collected.returncode == 0, collected.stderr
    assert sees.state(by_gc.run_id) == "terminated"
