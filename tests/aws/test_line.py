"""The launch's whole line on the sandbox cloud, which is stricter than moto: tokens, pools, groups that are held."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from launcher.aws import fleet, images, network, offers, orphans, verdict
from launcher.aws.client import Aws
from launcher.domain import Instance, Market, Requirements, SpotPolicy
from launcher.errors import NoCapacity, ProvisionError, QuotaExceeded
from launcher.sandbox.client import SandboxClient

T4_SPOT = Requirements(instance_types=("g4dn.xlarge",), spot=SpotPolicy.SPOT)


@pytest.fixture
def here(sandbox_none):
    aws = Aws(sandbox_none.account)
    yield aws
    SandboxClient(sandbox_none.endpoint_url).clear_faults()
    orphans.remove_all(aws, orphans.find(aws))


@pytest.fixture
def control(sandbox_none):
    return SandboxClient(sandbox_none.endpoint_url)


def launch(aws, kept, run_id=None):
    """All of the line, as a launch walks it; the machine and the request that made it."""
    run_id = run_id or f"r-{uuid4().hex[:8]}"
    tags = {"gpurun:run": run_id}
    found = offers.find(aws, T4_SPOT, kept)
    asked = fleet.FleetRequest(
        run_id=run_id,
        token=run_id,
        image=images.resolve(aws, ""),
        offers=found,
        subnets=network.default_subnets(aws, [each.zone for each in found]),
        group_id=network.open_ingress(aws, run_id=run_id, cidr="203.0.113.7/32", tags=tags).group_id,
        user_data="#!/bin/sh\n",
        disk_gib=20,
        tags=tags,
    )
    made = fleet.launch(aws, asked)
    if not isinstance(made, Instance):
        raise verdict.error(made)
    return fleet.wait_running(aws, made.instance_id, timeout_s=20), asked


def pool_fault(code, **params):
    match = {"action": "CreateFleet", "params": {"InstanceType": ".+", **params}}
    return {"match": match, "effect": {"error": code}, "times": -1}


def test_few_calls_up_to_a_running_machine(here, control, kept):
    control.clear_journal()
    instance, _ = launch(here, kept)
    cold = [each["action"] for each in control.journal()]
    control.clear_journal()
    launch(here, kept)
    warm = [each["action"] for each in control.journal()]
    assert instance.state == "running"
    assert instance.public_address
    looks = cold.count("DescribeInstances") - 1, warm.count("DescribeInstances") - 1
    assert len(cold) - looks[0] <= 13, cold
    assert len(warm) - looks[1] <= 9, warm
    assert max(looks) <= 3


def test_an_independent_look_at_the_machine(here, kept):
    instance, asked = launch(here, kept)
    (found,) = here.ec2.describe_instances(InstanceIds=[instance.instance_id])["Reservations"][0]["Instances"]
    assert found["MetadataOptions"]["HttpTokens"] == "required"
    assert found["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert [group["GroupId"] for group in found["SecurityGroups"]] == [asked.group_id]
    volume_id = found["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    (volume,) = here.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]
    assert volume["Encrypted"]
    assert volume["VolumeType"] == "gp3"
    assert volume["Attachments"][0]["DeleteOnTermination"]
    assert {"Key": "gpurun:run", "Value": asked.run_id} in volume["Tags"]
    shutdown = here.ec2.describe_instance_attribute(
        InstanceId=instance.instance_id, Attribute="instanceInitiatedShutdownBehavior"
    )
    assert shutdown["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"


def test_the_same_token_makes_no_second_machine(here, kept):
    instance, asked = launch(here, kept)
    assert fleet.launch(here, asked).instance_id == instance.instance_id
    assert len(fleet.find(here, run_id=asked.run_id)) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_reply_makes_one_machine(here, control, kept, when):
    control.fault({"match": {"action": "CreateFleet"}, "effect": {"drop": when}, "times": 1})
    instance, asked = launch(here, kept)
    assert [each.instance_id for each in fleet.find(here, run_id=asked.run_id)] == [instance.instance_id]


def test_the_next_zone_is_taken(here, control, kept):
    cheapest = offers.find(here, T4_SPOT, kept)[0]
    control.fault(pool_fault("InsufficientInstanceCapacity", AZ=cheapest.zone))
    instance, _ = launch(here, kept)
    assert instance.zone != cheapest.zone
    assert instance.market is Market.SPOT


def test_no_capacity_anywhere_is_one_line(here, control, kept):
    control.fault(pool_fault("InsufficientInstanceCapacity"))
    with pytest.raises(NoCapacity) as caught:
        launch(here, kept)
    (line,) = caught.value.message.splitlines()[1:]
    assert "no capacity for g4dn.xlarge in us-east-1" in line


def test_a_quota_is_not_taken_for_lack_of_capacity(here, control, kept):
    control.fault(pool_fault("MaxSpotInstanceCountExceeded"))
    with pytest.raises(QuotaExceeded) as caught:
        launch(here, kept)
    assert "L-3819A6DF" in caught.value.hint


def test_a_held_group_is_closed_but_stays_until_the_machine_is_gone(here, kept):
    instance, asked = launch(here, kept)
    with pytest.raises(ProvisionError):
        network.close_ingress(here, run_id=asked.run_id, timeout_s=0.2)
    (group,) = here.ec2.describe_security_groups(GroupIds=[asked.group_id])["SecurityGroups"]
    assert group["IpPermissions"] == []
    fleet.terminate(here, [instance.instance_id])
    fleet.wait_terminated(here, [instance.instance_id], timeout_s=20)
    network.close_ingress(here, run_id=asked.run_id)
    assert not here.ec2.describe_security_groups(Filters=[{"Name": "tag:gpurun:run", "Values": [asked.run_id]}])[
        "SecurityGroups"
    ]


def test_many_runs_at_once_and_nothing_left(here, kept):
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: launch(here, kept)[0], range(6)))
    assert len({each.instance_id for each in made}) == 6
    orphans.remove_all(here, orphans.find(here))
    assert orphans.find(here) == []
    assert all(each.gone for each in fleet.wait_terminated(here, [one.instance_id for one in made], timeout_s=5))


def test_offers_are_dated(here, kept):
    before = datetime.now(UTC)
    assert all(each.priced_at >= before for each in offers.find(here, T4_SPOT, kept))
