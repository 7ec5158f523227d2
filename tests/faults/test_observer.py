"""The observer finds what was made, whoever made it and whatever it is tagged with."""

from __future__ import annotations

import json
from hashlib import sha256

from tests.faults.bucket import Bucket
from tests.faults.chained import content
from tests.faults.observer import Cloud, chains

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


def test_a_piece_that_is_missing_or_another_is_found_out(sandbox_none) -> None:
    s3 = Cloud(sandbox_none.endpoint_url).client("s3", REGION)
    bucket = Bucket(s3, "observed", REGION)
    right = chains(3)
    data = content(2, right[2], 100)
    piece = ["objects/0001-aa-000001", sha256(data).hexdigest(), len(data)]
    told = {
        "segment": 1,
        "number": 5,
        "at": 1000.0,
        "checkpoint": [["state.bin", "f", len(data), 0, 0o600, "", [piece]]],
        "output": [],
        "log": {"base": 0, "chunks": []},
    }
    s3.put_object(Bucket="observed", Key=f"team/run/{piece[0]}", Body=data)
    assert bucket.sent("run", right) == []
    s3.put_object(Bucket="observed", Key="team/run/generations/0001-5.json", Body=json.dumps(told).encode())
    assert [(each.step, each.broken) for each in bucket.sent("run", right)] == [(2, ())]
    s3.put_object(Bucket="observed", Key=f"team/run/{piece[0]}", Body=data[:-1] + b"x")
    (altered,) = bucket.sent("run", right)
    assert altered.broken == (f"{piece[0]} is another content", "state.bin is of no step")
    s3.delete_object(Bucket="observed", Key=f"team/run/{piece[0]}")
    (gone,) = bucket.sent("run", right)
    assert f"{piece[0]} is not there" in gone.broken
    bucket.remove()
    assert "observed" not in [each["Name"] for each in s3.list_buckets()["Buckets"]]
