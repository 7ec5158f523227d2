"""Images that are there: pruned, copied and shared from the command line."""

import json
from datetime import UTC, datetime

import pytest

from launcher.aws import baked, images
from launcher.aws.tags import TAG_BAKE, TAG_SCHEDULE, TAG_USES, to_list
from launcher.domain import TAG_DEADLINE, TAG_RUN

OTHER = "us-west-2"


@pytest.fixture
def three(aws):
    """Three images of one name, oldest first."""
    base = images.resolve(aws, "")
    disk = [{"DeviceName": base.root_device, "Ebs": {"VolumeSize": 60, "Encrypted": True}}]
    launched = aws.ec2.run_instances(
        ImageId=base.image_id, InstanceType="m5.large", MinCount=1, MaxCount=1, BlockDeviceMappings=disk
    )
    machine = launched["Instances"][0]["InstanceId"]
    aws.ec2.get_waiter("instance_running").wait(InstanceIds=[machine], WaiterConfig={"Delay": 1})
    made = []
    for number in range(3):
        tags = {TAG_BAKE: f"bake-{number}", TAG_RUN: f"bake-{number}", TAG_DEADLINE: datetime.now(UTC).isoformat()}
        image_id = baked.create(aws, machine, f"gpurun-ours-{number}", tags)
        made.append(baked.publish(aws, baked.wait_available(aws, image_id, 10), "ours"))
        aws.ec2.get_waiter("instance_running").wait(InstanceIds=[machine], WaiterConfig={"Delay": 1})
    aws.ec2.terminate_instances(InstanceIds=[machine])
    yield made
    for image in baked.find(aws.at(OTHER)):
        baked.remove(aws.at(OTHER), image)


def test_pruned_copied_and_shared(laptop, aws, three):
    newest = three[-1]
    said = laptop.gpurun("ami", "prune", "ours", "--keep", "1", "--sandbox")
    assert [each.image_id in said.stdout for each in three] == [True, True, False]
    assert "next: gpurun ami prune ours --keep 1 --yes" in said.stdout
    assert len(baked.find(aws, "ours")) == 3
    done = laptop.gpurun("ami", "prune", "ours", "--keep", "1", "--sandbox", "--yes", "--json")
    assert {each["image_id"] for each in json.loads(done.stdout)["removed"]} == {each.image_id for each in three[:2]}
    assert baked.find(aws, "ours") == [newest]

    copied = laptop.gpurun("ami", "copy", "ours", OTHER, "--sandbox")
    assert copied.returncode == 0, copied.stderr
    assert baked.get(aws.at(OTHER), "ours").image_id == copied.stdout.strip()
    assert laptop.gpurun("ami", "copy", "ours", "nowhere-1", "--sandbox").returncode == 2

    refused = laptop.gpurun("ami", "share", "ours", "210987654321", "--sandbox")
    assert refused.returncode == 2
    assert f"gpurun ami copy {newest.image_id}" in refused.stderr
    key = aws.kms.create_key()["KeyMetadata"]["Arn"]
    own = laptop.gpurun("ami", "copy", "ours", aws.region, "--kms-key", key, "--sandbox").stdout.strip()
    shared = laptop.gpurun("ami", "share", own, "210987654321", "--sandbox")
    assert shared.returncode == 0, shared.stderr
    told = json.loads(laptop.gpurun("ami", "show", own, "--sandbox", "--json").stdout)
    assert told["shared_with"] == ["210987654321"]


def test_a_copy_that_fails_leaves_nothing(laptop, aws, three, torment):
    torment.fault({"match": {"action": "CreateTags"}, "effect": {"error": "UnauthorizedOperation"}})
    failed = laptop.gpurun("ami", "copy", "ours", OTHER, "--sandbox")
    assert failed.returncode == 4, failed.stderr
    assert baked.find(aws.at(OTHER)) == []


def test_an_image_that_a_run_may_need_again_is_not_pruned(laptop, aws, three):
    tags = [{"ResourceType": "instance", "Tags": [{"Key": TAG_RUN, "Value": "long-run"}]}]
    used = three[0].image_id
    launched = aws.ec2.run_instances(
        ImageId=used, InstanceType="m5.large", MinCount=1, MaxCount=1, TagSpecifications=tags
    )
    pruned = laptop.gpurun("ami", "prune", "ours", "--keep", "1", "--sandbox", "--yes")
    assert pruned.returncode == 0, pruned.stderr
    assert f"{used} stays: run long-run uses it" in pruned.stdout
    assert baked.find(aws, "ours") == [three[2], three[0]]
    aws.ec2.terminate_instances(InstanceIds=[launched["Instances"][0]["InstanceId"]])
    laptop.wait_for(lambda: not baked.users(aws, three))
    assert f"removed {used}" in laptop.gpurun("ami", "prune", "ours", "--keep", "1", "--sandbox", "--yes").stdout


def test_an_image_that_a_deployed_schedule_launches_from_is_not_pruned(laptop, aws, three):
    used = three[0].image_id
    tags = [{"ResourceType": "launch-template", "Tags": to_list({TAG_SCHEDULE: "digits", TAG_USES: used})}]
    template = aws.ec2.create_launch_template(
        LaunchTemplateName="of-digits", LaunchTemplateData={"ImageId": used}, TagSpecifications=tags
    )["LaunchTemplate"]["LaunchTemplateId"]
    try:
        pruned = laptop.gpurun("ami", "prune", "ours", "--keep", "1", "--sandbox", "--yes")
        assert pruned.returncode == 0, pruned.stderr
        assert f"{used} stays: schedule digits uses it" in pruned.stdout
        assert baked.find(aws, "ours") == [three[2], three[0]]
    finally:
        aws.ec2.delete_launch_template(LaunchTemplateId=template)


def test_a_copy_to_where_it_is_wants_a_key(laptop, aws, three):
    done = laptop.gpurun("ami", "copy", "ours", aws.region, "--sandbox")
    assert done.returncode == 2
    assert f"is in {aws.region} already" in done.stderr
    assert "--kms-key" in done.stderr
    assert len(baked.find(aws, "ours")) == 3
