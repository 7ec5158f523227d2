"""The observer finds what was made, whoever made it and whatever it is tagged with."""

from __future__ import annotations

from tests.faults.observer import Cloud

REGION = "eu-west-1"


def test_what_carries_no_tag_is_found_and_what_was_there_before_is_not(sandbox_none) -> None:
    cloud = Cloud(sandbox_none.endpoint_url)
    ec2 = cloud.client("ec2", REGION)
    ec2.create_key_pair(KeyName="older")
    before = cloud.everything(REGION)
    assert cloud.leftovers(REGION, before) == []
    ec2.create_key_pair(KeyName="newer")
    group = ec2.create_security_group(GroupName="g", Description="g")["GroupId"]
    volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1)["VolumeId"]
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    address = ec2.allocate_address()["AllocationId"]
    ec2.create_launch_template(LaunchTemplateName="t", LaunchTemplateData={"InstanceType": "t3.medium"})
    image = ec2.describe_images()["Images"][0]["ImageId"]
    (machine,) = ec2.run_instances(ImageId=image, InstanceType="t3.medium", MinCount=1, MaxCount=1)["Instances"]
    mine = ec2.create_image(InstanceId=machine["InstanceId"], Name="mine")["ImageId"]
    left = cloud.leftovers(REGION, before)
    wanted = {
        ("key pair", "newer"),
        ("security group", group),
        ("volume", volume),
        ("snapshot", snapshot),
        ("address", address),
        ("template", "t"),
        ("instance", machine["InstanceId"]),
        ("image", mine),
    }
    assert wanted <= set(left)
    assert ("key pair", "older") not in left
    cloud.end(REGION, before)
    assert ("instance", machine["InstanceId"]) not in cloud.leftovers(REGION, before)
