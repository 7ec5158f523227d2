"""Launching as EC2 does it, over HTTP: fleets, templates, tokens, prices, quotas, and what stays after the end."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError

TAGS = [{"Key": "gpurun:run", "Value": "r1"}]


@pytest.fixture
def template(region) -> dict[str, str]:
    """All that gpurun asks of a machine, in one launch template."""
    group = region.group(f"g-{time.monotonic_ns()}")
    made = region.template(
        UserData=b"#!/bin/sh\necho hello\n",
        NetworkInterfaces=[{"DeviceIndex": 0, "AssociatePublicIpAddress": True, "Groups": [group]}],
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        InstanceInitiatedShutdownBehavior="terminate",
        BlockDeviceMappings=[
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {"VolumeSize": 77, "Encrypted": True, "DeleteOnTermination": True, "VolumeType": "gp3"},
            }
        ],
        TagSpecifications=[{"ResourceType": kind, "Tags": TAGS} for kind in ("instance", "volume")],
    )
    return {"template": made, "group": group}


def overrides(region, *kinds: str, **more: Any) -> list[dict[str, Any]]:
    subnets = region.subnets()
    zones = ("us-east-1a", "us-east-1b")
    return [{"InstanceType": kind, "SubnetId": subnets[zone], **more} for kind in kinds for zone in zones]


def test_a_fleet_honours_all_of_its_template(region, template: dict[str, str]) -> None:
    made = region.fleet(template["template"], overrides(region, "g5.xlarge"))
    assert made["Errors"] == []
    (pool,) = made["Instances"]
    assert pool["Lifecycle"] == "spot"
    shown = region.until(pool["InstanceIds"][0], "running")

    assert shown["MetadataOptions"]["HttpTokens"] == "required"
    assert shown["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert [group["GroupId"] for group in shown["SecurityGroups"]] == [template["group"]]
    assert shown["InstanceLifecycle"] == "spot"
    assert {"Key": "gpurun:run", "Value": "r1"} in shown["Tags"]
    assert ip_address(shown["PublicIpAddress"]) in ip_network("198.18.0.0/15")
    subnet = region.ec2.describe_subnets(SubnetIds=[shown["SubnetId"]])["Subnets"][0]
    assert ip_address(shown["PrivateIpAddress"]) in ip_network(subnet["CidrBlock"])

    def attribute(name: str) -> Any:
        return region.ec2.describe_instance_attribute(InstanceId=shown["InstanceId"], Attribute=name)

    behaviour = attribute("instanceInitiatedShutdownBehavior")["InstanceInitiatedShutdownBehavior"]
    assert behaviour["Value"] == "terminate"
    assert attribute("userData")["UserData"]["Value"] == "IyEvYmluL3NoCmVjaG8gaGVsbG8K"


def test_the_disk_is_encrypted_tagged_and_goes_with_its_machine(region, template: dict[str, str]) -> None:
    made = region.fleet(template["template"], overrides(region, "g5.xlarge"))
    instance_id = made["Instances"][0]["InstanceIds"][0]

    def disks() -> list[dict[str, Any]]:
        wanted = [{"Name": "tag:gpurun:run", "Values": ["r1"]}]
        return region.ec2.describe_volumes(Filters=wanted)["Volumes"]

    (disk,) = disks()
    assert (disk["Size"], disk["Encrypted"], disk["State"]) == (77, True, "in-use")
    assert disk["Attachments"][0]["DeleteOnTermination"] is True

    region.until(instance_id, "running")
    region.ec2.terminate_instances(InstanceIds=[instance_id])
    shown = region.until(instance_id, "terminated")
    assert disks() == []
    assert shown["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert "PublicIpAddress" not in shown
    wanted = [{"Name": "attachment.instance-id", "Values": [instance_id]}]
    assert region.ec2.describe_network_interfaces(Filters=wanted)["NetworkInterfaces"] == []


def tags_of(shown: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in shown["Tags"] if not tag["Key"].startswith("aws:")}


def test_a_fleets_own_tags_of_a_kind_leave_none_of_its_templates(region, template: dict[str, str]) -> None:
    own = [{"ResourceType": kind, "Tags": [{"Key": "own", "Value": kind}]} for kind in ("fleet", "instance")]
    made = region.fleet(template["template"], overrides(region, "g5.xlarge"), TagSpecifications=own)
    shown = region.until(made["Instances"][0]["InstanceIds"][0], "running")
    assert tags_of(shown) == {"own": "instance"}
    assert {tag["Key"] for tag in shown["Tags"]} >= {"aws:ec2launchtemplate:id", "aws:ec2launchtemplate:version"}
    (disk,) = region.ec2.describe_volumes(
        Filters=[{"Name": "attachment.instance-id", "Values": [shown["InstanceId"]]}]
    )["Volumes"]
    assert disk["Tags"] == TAGS

    by_template = region.fleet(template["template"], overrides(region, "g5.xlarge"), TagSpecifications=own[:1])
    assert tags_of(region.instance(by_template["Instances"][0]["InstanceIds"][0])) == {"gpurun:run": "r1"}


def test_a_launchs_own_tags_of_a_kind_leave_none_of_its_templates(region, template: dict[str, str]) -> None:
    spec = {"LaunchTemplateId": template["template"]}
    own = [{"ResourceType": "volume", "Tags": [{"Key": "own", "Value": "volume"}]}]
    (made,) = region.run(LaunchTemplate=spec, TagSpecifications=own)
    assert tags_of(region.instance(made)) == {"gpurun:run": "r1"}
    (disk,) = region.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [made]}])["Volumes"]
    assert disk["Tags"] == own[0]["Tags"]


def test_a_template_that_is_gone_is_not_found_by_its_name_either(region, template: dict[str, str]) -> None:
    shown = region.ec2.describe_launch_templates()["LaunchTemplates"][-1]
    region.ec2.delete_launch_template(LaunchTemplateName=shown["LaunchTemplateName"])
    for again in ({"LaunchTemplateName": shown["LaunchTemplateName"]}, {"LaunchTemplateId": shown["LaunchTemplateId"]}):
        with pytest.raises(ClientError) as refused:
            region.ec2.delete_launch_template(**again)
        assert "NotFound" in region.code_of(refused)


def test_a_group_in_use_cannot_be_deleted(region, template: dict[str, str]) -> None:
    made = region.fleet(template["template"], overrides(region, "g5.xlarge"))
    instance_id = made["Instances"][0]["InstanceIds"][0]
    with pytest.raises(ClientError) as refused:
        region.ec2.delete_security_group(GroupId=template["group"])
    assert region.code_of(refused) == "DependencyViolation"
    region.ec2.terminate_instances(InstanceIds=[instance_id])
    region.until(instance_id, "terminated")
    region.ec2.delete_security_group(GroupId=template["group"])


def test_a_fleet_takes_the_cheapest_pool(region, template: dict[str, str]) -> None:
    now = datetime.now(UTC)
    rows = region.ec2.describe_spot_price_history(
        InstanceTypes=["g5.xlarge", "g4dn.xlarge"], ProductDescriptions=["Linux/UNIX"], StartTime=now
    )["SpotPriceHistory"]
    here = [row for row in rows if row["AvailabilityZone"] in {"us-east-1a", "us-east-1b"}]
    best = min(here, key=lambda row: float(row["SpotPrice"]))
    made = region.fleet(template["template"], overrides(region, "g5.xlarge", "g4dn.xlarge"))
    shown = region.instance(made["Instances"][0]["InstanceIds"][0])
    assert (shown["InstanceType"], shown["Placement"]["AvailabilityZone"]) == (
        best["InstanceType"],
        best["AvailabilityZone"],
    )


def test_a_fleet_by_priority_goes_by_priority(region, template: dict[str, str]) -> None:
    pools = overrides(region, "g5.48xlarge", Priority=1.0) + overrides(region, "g4dn.xlarge", Priority=2.0)
    made = region.fleet(template["template"], pools, strategy="capacity-optimized-prioritized")
    assert made["Instances"][0]["InstanceType"] == "g5.48xlarge"


def test_a_pool_without_capacity_is_named_and_the_next_one_serves(region, template: dict[str, str]) -> None:
    region.admin.fault(
        {
            "match": {"action": "CreateFleet", "params": {"InstanceType": "g4dn.*"}},
            "effect": {"error": "InsufficientInstanceCapacity"},
            "times": -1,
        }
    )
    made = region.fleet(template["template"], overrides(region, "g4dn.xlarge", "g5.xlarge"))
    assert made["Instances"][0]["InstanceType"] == "g5.xlarge"
    assert len(made["Errors"]) == 2
    error = made["Errors"][0]
    assert error["ErrorCode"] == "InsufficientInstanceCapacity"
    assert "g4dn.xlarge" in error["ErrorMessage"]
    assert error["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"] == "g4dn.xlarge"
    assert error["LaunchTemplateAndOverrides"]["LaunchTemplateSpecification"]["LaunchTemplateId"]


def test_an_on_demand_fleet_is_not_touched_by_a_spot_shortage(region, template: dict[str, str]) -> None:
    region.admin.fault(
        {
            "match": {"action": "RunInstances", "params": {"Market": "spot"}},
            "effect": {"error": "UnfulfillableCapacity"},
            "times": -1,
        }
    )
    pools = overrides(region, "g5.xlarge")
    assert region.fleet(template["template"], pools)["Instances"] == []
    made = region.fleet(template["template"], pools, market="on-demand")
    assert "InstanceLifecycle" not in region.instance(made["Instances"][0]["InstanceIds"][0])


def test_a_bid_below_the_market_is_too_low(region, template: dict[str, str]) -> None:
    made = region.fleet(template["template"], overrides(region, "g5.xlarge", MaxPrice="0.01"))
    assert made["Instances"] == []
    assert {error["ErrorCode"] for error in made["Errors"]} == {"SpotMaxPriceTooLow"}
    with pytest.raises(ClientError) as refused:
        region.run(InstanceMarketOptions={"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.0001"}})
    assert region.code_of(refused) == "SpotMaxPriceTooLow"


def test_quotas_count_what_runs_in_each_market(region, template: dict[str, str]) -> None:
    region.admin.settings(quotas={"L-3819A6DF": 4, "L-DB2E81BA": 0})
    pools = overrides(region, "g5.xlarge")
    assert len(region.fleet(template["template"], pools)["Instances"]) == 1
    second = region.fleet(template["template"], pools)
    assert {error["ErrorCode"] for error in second["Errors"]} == {"MaxSpotInstanceCountExceeded"}
    third = region.fleet(template["template"], pools, market="on-demand")
    assert {error["ErrorCode"] for error in third["Errors"]} == {"VcpuLimitExceeded"}
    assert "limit of 0 " in third["Errors"][0]["ErrorMessage"]
    quotas = region.client("service-quotas")
    assert quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-3819A6DF")["Quota"]["Value"] == 4
    with pytest.raises(ClientError) as unknown:
        quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-00000000")
    assert region.code_of(unknown) == "NoSuchResourceException"


def test_a_type_that_its_zone_does_not_have_is_unsupported(region, template: dict[str, str]) -> None:
    made = region.fleet(
        template["template"], [{"InstanceType": "g5.xlarge", "SubnetId": region.subnets()["us-east-1e"]}]
    )
    assert [error["ErrorCode"] for error in made["Errors"]] == ["Unsupported"]


def test_a_token_makes_one_launch_of_many_calls(region, template: dict[str, str]) -> None:
    pools, token = overrides(region, "g5.xlarge"), f"token-{time.monotonic_ns()}"
    with ThreadPoolExecutor(5) as pool:
        made = list(pool.map(lambda _: region.fleet(template["template"], pools, ClientToken=token), range(5)))
    assert len({one["Instances"][0]["InstanceIds"][0] for one in made}) == 1
    assert len(region.instances(("tag:gpurun:run", "r1"), ("instance-state-name", "running"))) <= 1
    with pytest.raises(ClientError) as refused:
        region.fleet(template["template"], overrides(region, "g6.xlarge"), ClientToken=token)
    assert region.code_of(refused) == "IdempotentParameterMismatch"


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_token_has_at_most_64_ascii_characters(region, template: dict[str, str], dry_run: bool) -> None:
    pools = overrides(region, "g5.xlarge")
    for token in ("x" * 65, "\N{LATIN SMALL LETTER E WITH ACUTE}"):
        with pytest.raises(ClientError) as of_fleet:
            region.fleet(template["template"], pools, ClientToken=token, DryRun=dry_run)
        with pytest.raises(ClientError) as of_run:
            region.run(ClientToken=token, DryRun=dry_run)
        assert (region.code_of(of_fleet), region.code_of(of_run)) == ("InvalidParameterValue",) * 2
    assert region.instances(("instance-state-name", "running"), ("client-token", "x" * 65)) == []


def test_a_token_of_64_characters_is_taken(region, template: dict[str, str]) -> None:
    assert region.run(ClientToken=f"{time.monotonic_ns():x>64}")
    made = region.fleet(template["template"], overrides(region, "g5.xlarge"), ClientToken=f"{time.monotonic_ns():x>64}")
    assert made["Instances"]


def test_a_lost_reply_is_found_again_by_its_token(region) -> None:
    token = f"token-{time.monotonic_ns()}"
    region.admin.fault({"match": {"action": "RunInstances"}, "effect": {"drop": "after"}})
    with pytest.raises(HTTPClientError):
        region.run(ClientToken=token)
    (lost,) = region.wait(lambda: region.instances(("client-token", token)), lambda found: len(found) == 1)
    assert region.run(ClientToken=token) == [lost["InstanceId"]]


def test_a_dropped_call_takes_no_effect(region) -> None:
    token = f"token-{time.monotonic_ns()}"
    region.admin.fault({"match": {"action": "RunInstances"}, "effect": {"drop": "before"}})
    with pytest.raises(HTTPClientError):
        region.run(ClientToken=token)
    assert region.instances(("client-token", token)) == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"InstanceType": "g99.xlarge"}, "InvalidParameterValue"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        ({"DryRun": True}, "DryRunOperation"),
    ],
)
def test_wrong_requests_get_the_code_that_ec2_gives(region, wrong: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as refused:
        region.run(**wrong)
    assert region.code_of(refused) == code
    assert region.instances(("instance-state-name", "pending")) == []


def test_states_take_the_time_that_they_are_given(region) -> None:
    region.admin.settings(pending_s=0.4, shutting_down_s=0.4)
    (instance_id,) = region.run()
    assert region.instance(instance_id)["State"]["Name"] == "pending"
    region.until(instance_id, "running")
    changed = region.ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"][0]
    assert (changed["PreviousState"]["Name"], changed["CurrentState"]["Name"]) == ("running", "shutting-down")
    assert region.instance(instance_id)["State"]["Name"] == "shutting-down"
    region.until(instance_id, "terminated")
    again = region.ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"][0]
    assert again["CurrentState"]["Name"] == "terminated"


def test_stop_and_start_keep_the_instance(region) -> None:
    (instance_id,) = region.run()
    region.until(instance_id, "running")
    region.ec2.stop_instances(InstanceIds=[instance_id])
    region.until(instance_id, "stopped")
    region.ec2.start_instances(InstanceIds=[instance_id])
    region.until(instance_id, "running")


def test_an_interruption_ends_the_machine_with_its_reason(region) -> None:
    (instance_id,) = region.run(InstanceMarketOptions={"MarketType": "spot"})
    region.until(instance_id, "running")
    shown = region.admin.interrupt(instance_id, in_s=0.3)
    assert shown["notice_at"] == pytest.approx(time.time() + 0.3, abs=2)
    assert region.instance(instance_id)["State"]["Name"] == "running"
    ended = region.until(instance_id, "terminated")
    assert ended["StateReason"]["Code"] == "Server.SpotInstanceTermination"


def test_the_terminated_are_forgotten_in_time(region) -> None:
    (instance_id,) = region.run()
    region.ec2.terminate_instances(InstanceIds=[instance_id])
    region.until(instance_id, "terminated")
    region.admin.settings(terminated_visible_s=0.0)
    with pytest.raises(ClientError) as gone:
        region.ec2.describe_instances(InstanceIds=[instance_id])
    assert region.code_of(gone) == "InvalidInstanceID.NotFound"


def test_twenty_launches_at_once_all_come_and_all_go(region, template: dict[str, str]) -> None:
    pools, ready = overrides(region, "g5.xlarge"), threading.Barrier(20)

    def launch(_: int) -> str:
        ready.wait()
        return region.fleet(template["template"], pools)["Instances"][0]["InstanceIds"][0]

    with ThreadPoolExecutor(20) as pool:
        ids = set(pool.map(launch, range(20)))
    assert len(ids) == 20
    region.wait(
        lambda: region.instances(("instance-state-name", "running"), ("tag:gpurun:run", "r1")),
        lambda found: {each["InstanceId"] for each in found} == ids,
    )
    addresses = {region.instance(instance_id)["PublicIpAddress"] for instance_id in ids}
    assert len(addresses) == 20
    region.ec2.terminate_instances(InstanceIds=sorted(ids))
    for instance_id in ids:
        region.until(instance_id, "terminated")


def test_a_fleet_deleted_with_its_instances_ends_them(region, template: dict[str, str]) -> None:
    made = region.fleet(template["template"], overrides(region, "g5.xlarge"))
    region.ec2.delete_fleets(FleetIds=[made["FleetId"]], TerminateInstances=True)
    region.until(made["Instances"][0]["InstanceIds"][0], "terminated")
