"""gpurun as a person runs it, against a sandbox cloud of the test session's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.aws.client import Aws
from launcher.sandbox.control import Sandbox
from tests.computer import Computer


@dataclass(kw_only=True)
class Laptop(Computer):
    """One whose gpurun speaks to a sandbox cloud."""

    cloud: Sandbox

    def instances(self, *states: str) -> list[dict]:
        """What EC2 says of this laptop's machines, asked by plain boto3."""
        mine = {run["run_id"] for run in self.runs()} if self.state.ledger.exists() else set()
        found = [
            instance
            for page in Aws(self.cloud.account).ec2.get_paginator("describe_instances").paginate()
            for reservation in page["Reservations"]
            for instance in reservation["Instances"]
        ]
        return [
            instance
            for instance in found
            if (not states or instance["State"]["Name"] in states)
            # EC2 leaves the member out where there are none: other tests' machines of this cloud have none.
            and {tag["Value"] for tag in instance.get("Tags", ()) if tag["Key"] == "gpurun:run"} & mine
        ]

    def living(self) -> list[dict]:
        return self.instances("pending", "running", "shutting-down", "stopping", "stopped")


@pytest.fixture
def laptop(tmp_path: Path, cloud: Sandbox) -> Iterator[Laptop]:
    """A fresh laptop that shares the session's cloud; whatever it started is ended with it."""
    it = Laptop(home=tmp_path, cloud=cloud)
    it.work.mkdir()
    it.state.home.mkdir(parents=True, mode=0o700)
    it.state.sandbox.symlink_to(cloud.state)
    yield it
    it.kill_started()
    ids = [instance["InstanceId"] for instance in it.living()]
    if ids:
        Aws(cloud.account).ec2.terminate_instances(InstanceIds=ids)
