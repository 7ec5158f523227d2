"""Machine images of our own, against the sandbox's EC2 over HTTP."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from launcher.aws import baked, images, orphans
from launcher.aws.client import Aws
from launcher.aws.tags import TAG_BAKE
from launcher.domain import TAG_DEADLINE, TAG_RUN
from launcher.errors import ProvisionError, SpecError
from launcher.sandbox.client import SandboxClient

OTHER = "us-west-2"
BAKE = "bake-ours-1"


@pytest.fixture
def torment(sandbox_none):
    it = SandboxClient(sandbox_none.endpoint_url)
    yield it
    it.clear_faults()
    it.settings(image_pending_s=0)


@pytest.fixture
def aws(sandbox_none, torment):
    it = Aws(sandbox_none.account)
    yield it
    torment.clear_faults()
    torment.settings(image_pending_s=0)
    for there in (it, it.at(OTHER)):
        for image in baked.find(there):
            baked.remove(there, image)
        found = there.ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])
        ids = [each["InstanceId"] for some in found["Reservations"] for each in some["Instances"]]
        if ids:
            there.ec2.terminate_instances(InstanceIds=ids)


def machine(aws, *, encrypted=True):
    base = images.resolve(aws, "")
    made = aws.ec2.run_instances(
        ImageId=base.image_id,
        InstanceType="m5.large",
        MinCount=1,
        MaxCount=1,
        BlockDeviceMappings=[{"DeviceName": base.root_device, "Ebs": {"VolumeSize": 60, "Encrypted": encrypted}}],
    )["Instances"][0]["InstanceId"]
    limit = time.monotonic() + 10
    while (
        aws.ec2.describe_instances(InstanceIds=[made])["Reservations"][0]["Instances"][0]["State"]["Name"] == "pending"
    ):
        assert time.monotonic() < limit
    return made


def tags(bake=BAKE, **more):
    deadline = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {TAG_BAKE: bake, TAG_RUN: bake, TAG_DEADLINE: deadline, "gpurun:recipe": "abc", **more}


def bake(aws, name="ours", ec2_name="gpurun-ours-1", **more):
    made = baked.wait_available(aws, baked.create(aws, machine(aws), ec2_name, tags(**more)), 10)
    return baked.publish(aws, made, name) if name else made


def test_an_image_is_made_tagged_with_its_snapshot_and_launched_from_by_its_name(aws):
    made = bake(aws, name="")
    assert (made.ready, made.name, made.size_gib) == (False, "", 60)
    baked.check_encrypted(aws, made)
    (snapshot,) = aws.ec2.describe_snapshots(SnapshotIds=list(made.snapshot_ids))["Snapshots"]
    assert {"Key": TAG_BAKE, "Value": BAKE} in snapshot["Tags"]
    ours = baked.publish(aws, made, "ours")
    assert ours.ready
    assert images.resolve(aws, "tag:gpurun:image=ours").image_id == made.image_id
    assert baked.get(aws, "ours") == baked.get(aws, made.image_id) == ours


def test_what_is_not_ready_is_found_by_gc_and_what_is_ready_never(aws):
    made = bake(aws, name="")
    assert [each.id for each in orphans.find(aws) if each.kind == "image"] == [made.image_id]
    baked.publish(aws, made, "ours")
    assert [each for each in orphans.find(aws) if each.kind in {"image", "snapshot"}] == []


def test_an_unencrypted_image_is_refused(aws):
    made = baked.wait_available(aws, baked.create(aws, machine(aws, encrypted=False), "gpurun-bare", tags()), 10)
    with pytest.raises(ProvisionError, match="not encrypted"):
        baked.check_encrypted(aws, made)


def test_a_reply_that_was_lost_makes_no_second_image(aws, torment):
    torment.fault({"match": {"action": "CreateImage"}, "effect": {"drop": "after"}})
    made = baked.create(aws, machine(aws), "gpurun-ours-1", tags())
    assert [each.image_id for each in baked.find(aws)] == [made]


def test_a_name_that_is_taken_by_another_bake_is_told(aws):
    bake(aws)
    with pytest.raises(ProvisionError, match="already in use"):
        baked.create(aws, machine(aws), "gpurun-ours-1", tags(bake="another"))


def test_it_is_waited_for(aws, torment):
    on = machine(aws)
    torment.settings(image_pending_s=0.5)
    image_id = baked.create(aws, on, "gpurun-ours-1", tags())
    assert [each.state for each in baked.find(aws)] == ["pending"]
    with pytest.raises(ProvisionError, match="pending after 0 s"):
        baked.wait_available(aws, image_id, 0.0)
    assert baked.wait_available(aws, image_id, 10).state == "available"


def test_removal_takes_the_snapshot_too_and_twice_is_harmless(aws):
    made = bake(aws)
    baked.remove(aws, made)
    assert baked.find(aws) == []
    assert (
        aws.ec2.describe_snapshots(Filters=[{"Name": "snapshot-id", "Values": list(made.snapshot_ids)}])["Snapshots"]
        == []
    )
    baked.remove(aws, made)


def test_the_newest_of_a_name_is_meant(aws):
    bake(aws, ec2_name="gpurun-ours-1")
    newest = bake(aws, ec2_name="gpurun-ours-2")
    bake(aws, name="theirs", ec2_name="gpurun-theirs")
    assert baked.get(aws, "ours") == newest
    assert [each.ec2_name for each in baked.find(aws, "ours")] == ["gpurun-ours-2", "gpurun-ours-1"]


def test_what_is_not_there_is_told_with_what_is(aws):
    bake(aws)
    with pytest.raises(SpecError, match="is other; there are ours"):
        baked.get(aws, "other")
    with pytest.raises(SpecError, match="no image of ours"):
        baked.get(aws, images.resolve(aws, "").image_id)  # Amazon's


def test_sharing_with_the_accounts_own_key_is_refused_and_with_another_key_works(aws):
    made = bake(aws)
    key = aws.kms.create_key(Description="shared")["KeyMetadata"]["Arn"]
    with pytest.raises(SpecError, match="key that AWS keeps"):
        baked.share(aws, made, "210987654321")
    assert baked.shared_with(aws, made) == ()
    names = {"ec2_name": "gpurun-shared", "deadline": "2100-01-01T00:00:00Z"}
    image_id = baked.copy(aws, made, aws.region, owner={"gpurun:owner": "me"}, key=key, **names)
    shared = baked.publish(aws, baked.wait_available(aws, image_id, 10), "shared")
    baked.share(aws, shared, "210987654321")
    assert baked.shared_with(aws, shared) == ("210987654321",)
    baked.share(aws, shared, "210987654321", end=True)
    assert baked.shared_with(aws, shared) == ()


def test_a_copy_has_no_name_and_a_deadline_until_it_is_ready(aws):
    made = bake(aws)
    names = {"ec2_name": made.ec2_name, "deadline": "2100-01-01T00:00:00Z", "owner": {"gpurun:owner": "me"}}
    there = aws.at(OTHER)
    copied = baked.wait_available(there, baked.copy(aws, made, OTHER, **names), 10)
    baked.check_encrypted(there, copied)
    wanted = {TAG_BAKE: BAKE, "gpurun:recipe": "abc", "gpurun:owner": "me", TAG_DEADLINE: "2100-01-01T00:00:00Z"}
    assert copied.tags == wanted
    assert baked.publish(there, copied, "ours").ready
    assert replace(made, tags={}) == replace(baked.get(aws, "ours"), tags={})
