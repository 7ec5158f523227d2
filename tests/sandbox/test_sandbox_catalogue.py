"""What the sandbox offers: types, prices, images, regions, as any client of AWS reads them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

ON_DEMAND = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "capacitystatus": "Used",
    "preInstalledSw": "NA",
}


def on_demand(region, kind: str, where: str, **more: str) -> list[float]:
    wanted = {"instanceType": kind, "regionCode": where, **ON_DEMAND, **more}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    found = region.client("pricing").get_products(ServiceCode="AmazonEC2", Filters=filters)["PriceList"]
    prices = []
    for text in found:
        (term,) = json.loads(text)["terms"]["OnDemand"].values()
        (dimension,) = term["priceDimensions"].values()
        prices.append(float(dimension["pricePerUnit"]["USD"]))
    return prices


def test_types_come_in_pages_with_their_gpus_and_quickly(region) -> None:
    pages = list(region.ec2.get_paginator("describe_instance_types").paginate())
    assert max(len(page["InstanceTypes"]) for page in pages) == 100
    types = {each["InstanceType"]: each for page in pages for each in page["InstanceTypes"]}
    assert types["g5.xlarge"]["GpuInfo"]["Gpus"][0]["Name"] == "A10G"
    assert types["g5.xlarge"]["VCpuInfo"]["DefaultVCpus"] == 4

    started = time.monotonic()
    for _ in range(3):
        region.ec2.describe_instance_types(InstanceTypes=["g5.xlarge", "g4dn.xlarge"])
    assert (time.monotonic() - started) / 3 < 0.5


def test_type_filters_work_with_wildcards_and_unknown_ones_are_refused(region) -> None:
    def names(name: str, *values: str) -> set[str]:
        found = region.ec2.describe_instance_types(Filters=[{"Name": name, "Values": list(values)}])
        return {each["InstanceType"] for each in found["InstanceTypes"]}

    assert {"g5.xlarge", "g5.48xlarge"} <= names("instance-type", "g5.*")
    assert all(name.startswith("g5.") for name in names("instance-type", "g5.*"))
    assert "g5.xlarge" not in names("processor-info.supported-architecture", "arm64")
    assert "t3.micro" in names("burstable-performance-supported", "true")
    with pytest.raises(ClientError) as refused:
        names("no-such-filter", "x")
    assert region.code_of(refused) == "InvalidParameterValue"
    with pytest.raises(ClientError) as unknown:
        region.ec2.describe_instance_types(InstanceTypes=["g99.xlarge"])
    assert region.code_of(unknown) == "InvalidInstanceType"


def test_offerings_know_which_zone_has_what(region) -> None:
    found = region.ec2.describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["g5.*"]}]
    )["InstanceTypeOfferings"]
    zones = {each["Location"] for each in found if each["InstanceType"] == "g5.xlarge"}
    assert "us-east-1a" in zones
    assert "us-east-1e" not in zones


@pytest.mark.parametrize("where", ["us-east-1", "us-west-2", "eu-west-1"])
def test_spot_prices_are_current_below_on_demand_and_the_same_for_all(region, where: str) -> None:
    now = datetime.now(UTC)

    def current() -> dict[str, Any]:
        rows = region.client("ec2", where).describe_spot_price_history(
            InstanceTypes=["g5.xlarge"], ProductDescriptions=["Linux/UNIX"], StartTime=now
        )["SpotPriceHistory"]
        return {row["AvailabilityZone"]: row for row in rows}

    found = current()
    assert len(found) >= 3
    (price,) = on_demand(region, "g5.xlarge", where)
    for row in found.values():
        assert 0.25 * price < float(row["SpotPrice"]) < 0.7 * price
        assert now - timedelta(hours=7) < row["Timestamp"] <= now
    assert len({row["SpotPrice"] for row in found.values()}) == len(found)
    assert current() == found


def test_price_history_goes_back_newest_first_and_filters(region) -> None:
    now = datetime.now(UTC)
    rows = region.ec2.describe_spot_price_history(
        InstanceTypes=["g5.xlarge"], AvailabilityZone="us-east-1a", StartTime=now - timedelta(days=1)
    )["SpotPriceHistory"]
    moments = [row["Timestamp"] for row in rows]
    assert moments == sorted(moments, reverse=True)
    assert 4 <= len(moments) <= 6
    assert {row["AvailabilityZone"] for row in rows} == {"us-east-1a"}
    none = region.ec2.describe_spot_price_history(InstanceTypes=["g5.xlarge"], ProductDescriptions=["Windows"])
    assert none["SpotPriceHistory"] == []


def test_on_demand_prices_are_the_published_ones_and_told_apart(region) -> None:
    assert on_demand(region, "g5.xlarge", "us-east-1") == [1.006]
    assert on_demand(region, "c7i.2xlarge", "us-east-1") == [pytest.approx(0.357)]
    assert on_demand(region, "g5.xlarge", "us-east-1", capacitystatus="AllocatedCapacityReservation") == [0.0]
    assert on_demand(region, "g5.xlarge", "us-east-1", operatingSystem="Windows")[0] > 1.006
    assert on_demand(region, "g5.xlarge", "eu-west-1")[0] > 1.006
    assert on_demand(region, "nothing.xlarge", "us-east-1") == []


def test_the_deep_learning_image_is_found_by_parameter_name_and_owner(region) -> None:
    shown = region.ec2.describe_images(ImageIds=[region.image])["Images"][0]
    assert shown["Name"].startswith("Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04)")
    assert shown["ImageOwnerAlias"] == "amazon"
    disk = shown["BlockDeviceMappings"][0]
    assert (disk["DeviceName"], disk["Ebs"]["VolumeSize"]) == (shown["RootDeviceName"], 60)
    by_owner = region.ec2.describe_images(
        Owners=["amazon"], Filters=[{"Name": "name", "Values": ["Deep Learning Base*"]}]
    )["Images"]
    newest = max(by_owner, key=lambda image: image["CreationDate"])
    assert newest["ImageId"] == region.image
    (old,) = region.ec2.describe_images(Filters=[{"Name": "name", "Values": ["gpu_theano*"]}])["Images"]
    assert "ImageOwnerAlias" not in old


def test_public_parameters_exist_and_others_do_not(region) -> None:
    ssm = region.client("ssm")
    names = [
        "/aws/service/deeplearning/ami/x86_64/oss-nvidia-driver-gpu-tensorflow-2.18-ubuntu-22.04/latest/ami-id",
        "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id",
    ]
    found = ssm.get_parameters(Names=[*names, "/no/such"])
    assert {each["Name"] for each in found["Parameters"]} == set(names)
    assert found["InvalidParameters"] == ["/no/such"]
    for each in found["Parameters"]:
        assert region.ec2.describe_images(ImageIds=[each["Value"]])["Images"]
    with pytest.raises(ClientError) as missing:
        ssm.get_parameter(Name="/no/such")
    assert region.code_of(missing) == "ParameterNotFound"


def test_the_default_network_leads_to_the_internet(region) -> None:
    vpc = region.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    wanted = [{"Name": "attachment.vpc-id", "Values": [vpc]}]
    (gateway,) = region.ec2.describe_internet_gateways(Filters=wanted)["InternetGateways"]
    tables = region.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    routes = [route for table in tables for route in table["Routes"]]
    assert any(route.get("GatewayId") == gateway["InternetGatewayId"] for route in routes)


def test_a_region_that_is_not_enabled_refuses_until_it_is(region) -> None:
    far = region.client("ec2", "ap-east-1")
    with pytest.raises(ClientError) as refused:
        far.describe_instances()
    assert region.code_of(refused) == "AuthFailure"
    assert "ap-east-1" not in {each["RegionName"] for each in region.ec2.describe_regions()["Regions"]}
    shown = {each["RegionName"]: each for each in region.ec2.describe_regions(AllRegions=True)["Regions"]}
    assert shown["ap-east-1"]["OptInStatus"] == "not-opted-in"
    region.admin.settings(enabled_regions=["ap-east-1"])
    assert far.describe_instances()["Reservations"] == []


def test_a_region_that_does_not_exist_is_refused(region) -> None:
    with pytest.raises(ClientError, match="valid region"):
        region.client("ec2", "us-nowhere-1").describe_instances()


def test_the_aws_cli_sees_what_boto3_sees(region) -> None:
    (instance_id,) = region.run(InstanceType="t3.small")
    account = region.sandbox.account
    env = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "AWS_CONFIG_FILE": str(account.config_file),
        "AWS_SHARED_CREDENTIALS_FILE": str(account.credentials_file),
        "AWS_PROFILE": str(account.profile),
    }
    query = "Reservations[].Instances[].[InstanceId,InstanceType]"
    argv = ["aws", "ec2", "describe-instances", "--instance-ids", instance_id, "--query", query]
    seen = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(seen.stdout) == [[instance_id, "t3.small"]]
