"""A region of the sandbox cloud as a client sees it, swept clean between tests."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from launcher.sandbox.client import SandboxClient
from launcher.sandbox.control import Sandbox

DLAMI = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
GONE = {"terminated", "shutting-down"}
DEFAULTS = {"pending_s": 0.0, "boot_delay_s": 0.0, "shutting_down_s": 0.0, "terminated_visible_s": 3600.0}


@dataclass
class Region:
    """boto3 clients, made as production makes them: from files and a profile name."""

    sandbox: Sandbox
    admin: SandboxClient
    name: str = "us-east-1"
    clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    def client(self, service: str, region: str = "") -> Any:
        key = (service, region or self.name)
        if key not in self.clients:
            account = self.sandbox.account
            core = botocore.session.Session()
            core.set_config_variable("config_file", str(account.config_file))
            core.set_config_variable("credentials_file", str(account.credentials_file))
            core.set_config_variable("profile", account.profile)
            session = boto3.session.Session(botocore_session=core)
            config = Config(retries={"total_max_attempts": 1, "mode": "standard"}, max_pool_connections=64)
            self.clients[key] = session.client(service, region_name=key[1], config=config)
        return self.clients[key]

    @property
    def ec2(self) -> Any:
        return self.client("ec2")

    @property
    def image(self) -> str:
        return self.client("ssm").get_parameter(Name=DLAMI)["Parameter"]["Value"]

    def subnets(self) -> dict[str, str]:
        found = self.ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
        return {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in found}

    def group(self, name: str) -> str:
        vpc = self.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
        return self.ec2.create_security_group(GroupName=name, Description="test", VpcId=vpc)["GroupId"]

    def template(self, **data: Any) -> str:
        data = {"ImageId": self.image, **data}
        if "UserData" in data:
            data["UserData"] = base64.b64encode(data["UserData"]).decode()
        name = f"t-{time.monotonic_ns()}"
        made = self.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
        return made["LaunchTemplate"]["LaunchTemplateId"]

    def fleet(self, template: str, overrides: list[dict[str, Any]], count: int = 1, **more: Any) -> dict[str, Any]:
        market = more.pop("market", "spot")
        strategy = more.pop("strategy", "price-capacity-optimized")
        return self.ec2.create_fleet(
            Type="instant",
            LaunchTemplateConfigs=[
                {
                    "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "$Latest"},
                    "Overrides": overrides,
                }
            ],
            TargetCapacitySpecification={"TotalTargetCapacity": count, "DefaultTargetCapacityType": market},
            SpotOptions={"AllocationStrategy": strategy},
            **more,
        )

    def run(self, count: int = 1, **more: Any) -> list[str]:
        request = {"ImageId": self.image, "InstanceType": "t3.micro", **more}
        made = self.ec2.run_instances(MinCount=count, MaxCount=count, **request)
        return [instance["InstanceId"] for instance in made["Instances"]]

    def instance(self, instance_id: str) -> dict[str, Any]:
        return self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]

    def instances(self, *filters: tuple[str, str]) -> list[dict[str, Any]]:
        wanted = [{"Name": name, "Values": [value]} for name, value in filters]
        found = self.ec2.describe_instances(Filters=wanted)["Reservations"]
        return [instance for reservation in found for instance in reservation["Instances"]]

    def until(self, instance_id: str, state: str) -> dict[str, Any]:
        """Wait for a state, as a client of EC2 must."""
        return self.wait(lambda: self.instance(instance_id), lambda shown: shown["State"]["Name"] == state)

    def end_all(self) -> None:
        alive = [each["InstanceId"] for each in self.instances() if each["State"]["Name"] not in GONE]
        if alive:
            self.ec2.terminate_instances(InstanceIds=alive)
        for instance_id in alive:
            self.until(instance_id, "terminated")

    @staticmethod
    def wait(look: Callable[[], Any], good: Callable[[Any], bool], timeout_s: float = 20.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while not good(seen := look()):
            assert time.monotonic() < deadline, f"still {seen}"
            time.sleep(0.02)
        return seen

    @staticmethod
    def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
        return error.value.response["Error"]["Code"]


@pytest.fixture(scope="session")
def clients() -> Iterator[dict[tuple[str, str], Any]]:
    """boto3 takes longer to make a client than the sandbox to answer it."""
    made: dict[tuple[str, str], Any] = {}
    yield made
    for client in made.values():
        client.close()


@pytest.fixture
def region_of() -> Iterator[Callable[[Sandbox], Region]]:
    """A region of any sandbox."""
    made: list[Region] = []

    def region(sandbox: Sandbox) -> Region:
        made.append(Region(sandbox=sandbox, admin=SandboxClient(sandbox.endpoint_url)))
        return made[-1]

    yield region
    for place in made:
        for client in place.clients.values():
            client.close()


@pytest.fixture
def region(sandbox_none: Sandbox, clients: dict[tuple[str, str], Any]) -> Iterator[Region]:
    admin = SandboxClient(sandbox_none.endpoint_url)
    place = Region(sandbox=sandbox_none, admin=admin, clients=clients)
    yield place
    admin.clear_faults()
    admin.settings(**DEFAULTS, quotas=dict.fromkeys(admin.settings()["quotas"], 1152.0), enabled_regions=[])
    place.end_all()
