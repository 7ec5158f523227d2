"""No machine in any of three regions, for another cause in each, as a person reads it."""

from __future__ import annotations

import pytest

from launcher.sandbox.client import SandboxClient

EAST, WEST, DUBLIN = "us-east-1", "us-west-2", "eu-west-1"
FEW = 15
"""One call more than a search over three regions may take."""


@pytest.fixture
def admin(cloud):
    it = SandboxClient(cloud.endpoint_url)
    it.clear_faults()
    yield it
    it.clear_faults()


def _refuse(admin: SandboxClient, region: str, code: str, **params: str) -> None:
    match = {"action": "CreateFleet", "region": region, "params": params}
    admin.fault({"match": match, "effect": {"error": code}, "times": -1})


def _asked(laptop, *regions: str) -> list[str]:
    """A launch in these regions."""
    return ["launch", "--sandbox", "--gpu", "t4", *(f"--region={region}" for region in regions), laptop.job("true\n")]


def test_capacity_quota_and_permission_are_told_in_a_line_each_with_the_next_step(laptop, admin):
    _refuse(admin, EAST, "InsufficientInstanceCapacity", InstanceType=".+")
    _refuse(admin, WEST, "MaxSpotInstanceCountExceeded", InstanceType=".+")
    _refuse(admin, DUBLIN, "UnauthorizedOperation")
    admin.clear_journal()
    done = laptop.gpurun(*_asked(laptop, EAST, WEST, DUBLIN))
    calls = [f"{each['action']} {each['region']}" for each in admin.journal()]

    assert done.returncode == 4, done.stderr
    _, _, told = done.stderr.partition("error: no machine could be had:\n")
    *causes, next_step = [line.strip() for line in told.splitlines() if line.strip()]
    assert len(causes) == 3, done.stderr
    line_of = {line.partition(": ")[0]: line for line in causes}
    assert "no capacity for g4dn.xlarge" in line_of[EAST]
    assert "allow more instance types, zones or regions, or wait for capacity: gpurun launch --wait" in line_of[EAST]
    assert "the quota does not allow g4dn.xlarge" in line_of[WEST]
    for code in ("L-3819A6DF", "L-DB2E81BA"):
        assert f"https://{WEST}.console.aws.amazon.com/servicequotas/home/services/ec2/quotas/{code}" in line_of[WEST]
    assert "is not authorized to perform: ec2:CreateFleet" in line_of[DUBLIN]
    assert "attach docs/iam-policy.json to the identity, then: gpurun doctor" in line_of[DUBLIN]
    assert next_step == "next: gpurun launch --wait keeps trying until there is a machine"

    planned = next(at for at, call in enumerate(calls) if call.startswith("DescribeSubnets "))
    searched = calls[planned:]  # prices and images are asked for by the plan
    assert {region for region in (EAST, WEST, DUBLIN) if f"CreateFleet {region}" in searched} == {EAST, WEST, DUBLIN}
    assert len(searched) < FEW, searched
    assert laptop.living() == []
    assert [run["status"] for run in laptop.runs()] == ["failed"]
