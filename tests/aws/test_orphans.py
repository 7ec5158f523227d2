import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from moto.ec2.models import ec2_backends

from launcher.aws import fleet, killswitch, network, orphans, template
from launcher.errors import NotPermitted, SpecError
from tests.aws.leftover import leave_key_pair

SSH = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "203.0.113.7/32"}]}
MADE = tuple(kind for kind in orphans.KINDS if kind not in {"image", "snapshot"})
"""All that a run makes or may leave; images are made by no run."""
TAGS = {"gpurun:run": "r1", "gpurun:deadline": "2026-11-20T00:00:00Z", "Name": "gpurun r1"}


def leave(aws, image, offer, run_id="r1"):
    """Leave behind all that a run makes."""
    tags = {**TAGS, "gpurun:run": run_id}
    fleet.launch(
        aws,
        fleet.FleetRequest(
            run_id=run_id,
            token=run_id,
            image=image,
            offers=(offer(),),
            subnets=network.default_subnets(aws, []),
            group_id=network.open_ingress(aws, run_id=run_id, cidr="203.0.113.7/32", tags=tags).group_id,
            user_data="",
            disk_gib=20,
            tags=tags,
        ),
    )
    leave_key_pair(aws, run_id, tags)
    aws.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, TagSpecifications=tagged("volume", tags))
    aws.ec2.allocate_address(Domain="vpc", TagSpecifications=tagged("elastic-ip", tags))
    foreign = aws.ec2.create_security_group(GroupName=f"not-ours-{run_id}", Description="x")["GroupId"]
    aws.ec2.authorize_security_group_ingress(
        GroupId=foreign, IpPermissions=[SSH], TagSpecifications=tagged("security-group-rule", tags)
    )
    switch(aws, run_id)


def tagged(kind, tags):
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


def switch(aws, run_id, instance_id="i-0123456789abcdef0"):
    if killswitch.GROUP not in {each["Name"] for each in aws.scheduler.list_schedule_groups()["ScheduleGroups"]}:
        aws.scheduler.create_schedule_group(Name=killswitch.GROUP)  # plain moto fails where the group is not there
    return killswitch.arm(
        aws,
        run_id=run_id,
        segment=1,
        instance_ids=[instance_id],
        deadline=datetime.now(UTC) + timedelta(hours=1),
        role_arn=killswitch.role(aws),
    )


def half_made(aws, image_id, state="failed", **tags):
    """An image that came to nothing, and its snapshot."""
    tags = tags or {"gpurun:bake": "b1"}
    made = aws.ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1, InstanceType="t3.micro")["Instances"][0]
    image = aws.ec2.create_image(InstanceId=made["InstanceId"], Name=f"half {state}")["ImageId"]
    (described,) = aws.ec2.describe_images(ImageIds=[image])["Images"]
    snapshot = described["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    aws.ec2.create_tags(Resources=[image, snapshot], Tags=tagged("", tags)[0]["Tags"])
    moto_ec2(aws).amis[image].state = state
    return image


def moto_ec2(aws):
    """The test's server keeps its state in this process."""
    return ec2_backends["123456789012"][aws.region]


def test_all_is_found_from_tags_alone(aws, image, offer):
    leave(aws, image, offer)
    found = orphans.find(aws)
    assert [each.kind for each in found] == list(MADE)
    assert {each.run_id for each in found} == {"r1"}
    assert {each.region for each in found} == {"us-east-1"}
    assert all(each.tags == TAGS for each in found if each.kind != "schedule")
    assert found[0].state == "running"


def test_a_stopped_machine_is_found_too(aws, image, offer):
    leave(aws, image, offer)
    machine = orphans.find(aws)[0]
    aws.ec2.stop_instances(InstanceIds=[machine.id])
    assert [(each.kind, each.state) for each in orphans.find(aws)[:1]] == [("instance", "stopped")]
    assert orphans.remove_all(aws, orphans.find(aws)) == ()
    assert fleet.describe(aws, machine.id).gone


LOOK_ALIKES = (
    {},
    {"Name": "gpurun r1"},
    {"gpurun": "run"},
    {"gpurun:runner": "r1"},
    {"my-gpurun:run": "r1"},
    {"gpurun:owner": "me", "gpurun:deadline": "2020-01-01T00:00:00Z"},
    {"note": "gpurun:run"},
    {"GPURUN:RUN": "r1"},
)
"""Tags of others that look like ours."""


@pytest.mark.parametrize("tags", LOOK_ALIKES, ids=lambda tags: ",".join(tags) or "none")
def test_what_only_looks_like_ours_is_left_alone(aws, image_id, tags):
    def born(kind):
        return {"TagSpecifications": tagged(kind, tags)} if tags else {}

    aws.ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1, InstanceType="t3.micro", **born("instance"))
    aws.ec2.create_key_pair(KeyName="gpurun-r1", **born("key-pair"))
    volume = aws.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, **born("volume"))["VolumeId"]
    aws.ec2.create_snapshot(VolumeId=volume, **born("snapshot"))
    aws.ec2.allocate_address(Domain="vpc", **born("elastic-ip"))
    aws.ec2.create_launch_template(
        LaunchTemplateName="gpurun-r1", LaunchTemplateData={"InstanceType": "t3.micro"}, **born("launch-template")
    )
    group = aws.ec2.create_security_group(GroupName="gpurun-r1", Description="x", **born("security-group"))["GroupId"]
    aws.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[SSH], **born("security-group-rule"))
    assert orphans.find(aws) == []


@pytest.mark.parametrize(
    ("group", "description"), [("gpurun", "somebody's"), ("gpurun", ""), ("default", "gpurun:run=r1")]
)
def test_a_schedule_that_is_not_ours_is_left_alone(aws, group, description):
    if group != "default":
        aws.scheduler.create_schedule_group(Name=group)
    aws.scheduler.create_schedule(
        Name="gpurun-r1.1",
        GroupName=group,
        Description=description,
        ScheduleExpression="at(2020-01-01T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": "arn:aws:sqs:us-east-1:123456789012:q", "RoleArn": killswitch.role(aws)},
    )
    assert orphans.find(aws) == []


@pytest.mark.parametrize("tags", [{"gpurun:bake": "b1"}, {"gpurun:run": "r1"}])
@pytest.mark.parametrize(("state", "found"), [("failed", True), ("pending", True), ("available", False)])
def test_an_image_half_made_goes_with_its_snapshot(aws, image_id, tags, state, found):
    made = half_made(aws, image_id, state, **tags)
    assert [(each.kind, each.id) for each in orphans.find(aws)] == ([("image", made)] if found else [])
    assert orphans.remove_all(aws, orphans.find(aws)) == ()
    left = aws.ec2.describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "tag-key", "Values": [*tags]}])["Snapshots"]
    assert bool(left) is not found


def test_a_snapshot_without_a_tag_of_ours_stays_when_its_image_goes(aws, image_id):
    made = half_made(aws, image_id)
    (snapshot,) = aws.ec2.describe_snapshots(Filters=[{"Name": "tag-key", "Values": ["gpurun:bake"]}])["Snapshots"]
    aws.ec2.delete_tags(Resources=[snapshot["SnapshotId"]], Tags=[{"Key": "gpurun:bake"}])
    assert orphans.remove_all(aws, orphans.find(aws)) == ()
    assert aws.ec2.describe_snapshots(SnapshotIds=[snapshot["SnapshotId"]])["Snapshots"]
    assert made not in {each["ImageId"] for each in aws.ec2.describe_images(Owners=["self"])["Images"]}


def test_an_image_past_its_deadline_is_found(aws, image_id):
    half_made(aws, image_id, "available", **{"gpurun:bake": "b1", "gpurun:deadline": "2026-01-01T00:00:00Z"})
    assert {each.kind for each in orphans.find(aws)} == {"image", "snapshot"}


def test_all_is_removed_and_nothing_else(aws, image, image_id, offer):
    leave(aws, image, offer)
    kept = aws.ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1, InstanceType="t3.micro")
    assert orphans.remove_all(aws, reversed(orphans.find(aws))) == ()
    assert orphans.find(aws) == []
    assert fleet.describe(aws, kept["Instances"][0]["InstanceId"]).state == "running"
    (group,) = aws.ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["not-ours-r1"]}])[
        "SecurityGroups"
    ]
    assert group["IpPermissions"] == []


def test_machines_of_a_region_are_ended_in_one_call(aws, cloud, image, offer):
    for run_id in ("r1", "r2", "r3"):
        leave(aws, image, offer, run_id)
    assert orphans.remove_all(aws, orphans.find(aws)) == ()
    assert cloud.calls.count("TerminateInstances") == 1


def test_a_protected_machine_keeps_no_other_and_keeps_its_schedule(aws, cloud, image, offer):
    for run_id in ("r1", "r2"):
        leave(aws, image, offer, run_id)
    protected = next(each for each in orphans.find(aws) if each.kind == "instance" and each.run_id == "r1")

    def refuse(asked):
        ids = {value for name, value in asked.items() if name.startswith("InstanceId.")}
        return (400, cloud.error_xml("OperationNotPermitted", "protected")) if protected.id in ids else None

    cloud.answer("TerminateInstances", refuse)
    # Its group is held; nobody waits two minutes here.
    found = [each for each in orphans.find(aws) if (each.kind, each.run_id) != ("security-group", "r1")]
    failed = orphans.remove_all(aws, found)
    assert [(each.orphan.kind, each.orphan.run_id) for each in failed] == [("instance", "r1"), ("schedule", "r1")]
    assert {each.run_id for each in orphans.find(aws)} == {"r1"}


def test_the_schedule_goes_after_its_machine_is_seen_to_be_gone(aws, cloud, image, offer):
    leave(aws, image, offer)
    machine = orphans.find(aws)[0].id
    seen = []
    deleted = killswitch.remove

    def remove(aws, name):
        seen.append(fleet.describe(aws, machine).state)
        deleted(aws, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(killswitch, "remove", remove)
        assert orphans.remove_all(aws, orphans.find(aws)) == ()
    assert seen == ["terminated"]


def test_a_volume_that_outlives_its_machine_is_removed_too(aws, image_id):
    made = aws.ec2.run_instances(
        ImageId=image_id,
        MinCount=1,
        MaxCount=1,
        InstanceType="t3.micro",
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": False}}],
        TagSpecifications=tagged("instance", TAGS) + tagged("volume", TAGS),
    )
    assert made["Instances"]
    assert [each.kind for each in orphans.find(aws)] == ["instance"]
    assert orphans.remove_all(aws, orphans.find(aws)) == ()
    assert orphans.find(aws) == []


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("DeleteVolume", "volume"),
        ("DeleteLaunchTemplate", "launch-template"),
        ("DeleteKeyPair", "key-pair"),
        ("ReleaseAddress", "address"),
        ("DeleteSecurityGroup", "security-group"),
    ],
)
def test_what_cannot_be_removed_is_told_and_the_others_go(aws, cloud, image, offer, action, kind):
    for run_id in ("r1", "r2"):
        leave(aws, image, offer, run_id)
    cloud.refuse(action, "UnauthorizedOperation", status=403)
    failed = orphans.remove_all(aws, orphans.find(aws))
    assert sorted((each.orphan.kind, each.orphan.run_id) for each in failed) == [(kind, "r1"), (kind, "r2")]
    assert {type(each.error) for each in failed} == {NotPermitted}
    assert [each.kind for each in orphans.find(aws)] == [kind, kind]


def test_removing_what_is_gone_is_harmless(aws, image, image_id, offer):
    leave(aws, image, offer)
    half_made(aws, image_id)
    found = orphans.find(aws)
    for _ in range(2):
        assert orphans.remove_all(aws, found) == ()
    assert orphans.find(aws) == []


@pytest.fixture
def two_regions(cloud):
    """Two enabled regions and one that is not."""
    items = "".join(
        f"<item><regionName>{name}</regionName><optInStatus>{status}</optInStatus></item>"
        for name, status in (
            ("us-east-1", "opted-in"),
            ("eu-west-1", "opt-in-not-required"),
            ("af-south-1", "not-opted-in"),
        )
    )
    body = (
        "<DescribeRegionsResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'>"
        f"<regionInfo>{items}</regionInfo></DescribeRegionsResponse>"
    )
    cloud.answer("DescribeRegions", lambda _: (200, body))


def test_every_region_is_searched(aws, two_regions):
    for region, run_id in (("us-east-1", "r1"), ("eu-west-1", "r2")):
        leave_key_pair(aws.at(region), run_id, TAGS)
    found = orphans.survey(aws).orphans
    assert [(each.kind, each.region, each.run_id) for each in found] == [
        ("key-pair", "eu-west-1", "r2"),
        ("key-pair", "us-east-1", "r1"),
    ]
    assert orphans.remove_all(aws, found) == ()
    assert orphans.survey(aws).orphans == ()


def refuse_in(cloud, region, code, status=403):
    """Let DescribeVolumes fail in one region, which the signature names."""
    cloud.answer(
        "DescribeVolumes",
        lambda asked: (status, cloud.error_xml(code, "no")) if asked["signed_for"] == region else None,
    )


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "AuthFailure", "OptInRequired"])
def test_a_region_that_is_closed_to_us_is_named_and_the_rest_is_searched(aws, cloud, two_regions, code):
    leave_key_pair(aws, "r1", TAGS)
    refuse_in(cloud, "eu-west-1", code)
    survey = orphans.survey(aws)
    assert [each.run_id for each in survey.orphans] == ["r1"]
    assert [(each.region, each.kind, each.closed) for each in survey.unsearched] == [("eu-west-1", "volume", True)]


@pytest.mark.parametrize(("region", "code"), [("us-east-1", "UnauthorizedOperation"), ("eu-west-1", "InternalFailure")])
def test_what_was_not_searched_does_not_look_clean(aws, cloud, two_regions, region, code):
    leave_key_pair(aws, "r1", TAGS)
    refuse_in(cloud, region, code, 400)
    survey = orphans.survey(aws)
    assert [each.run_id for each in survey.orphans] == ["r1"]
    assert [(each.region, each.kind, each.closed) for each in survey.unsearched] == [(region, "volume", False)]


def test_a_slow_region_holds_nothing_up(aws, cloud, two_regions):
    for region, run_id in (("us-east-1", "r1"), ("eu-west-1", "r2")):
        leave_key_pair(aws.at(region), run_id, TAGS)
    woken = threading.Event()

    def sleep(asked):
        return woken.wait(30) if asked["signed_for"] == "eu-west-1" else None

    cloud.answer("DescribeVolumes", lambda asked: sleep(asked) and None)
    began = time.monotonic()
    survey = orphans.survey(aws, timeout_s=2.0)
    took_s = time.monotonic() - began
    woken.set()
    assert took_s < 4
    assert [each.run_id for each in survey.orphans] == ["r1"]
    assert {each.region for each in survey.unsearched} == {"eu-west-1"}
    assert not any(each.closed for each in survey.unsearched)


def test_a_kind_that_is_not_ours(aws):
    orphan = orphans.Orphan(kind="bucket", id="b", region="us-east-1", run_id="r", name="", created_at=None, state="")
    with pytest.raises(SpecError):
        orphans.remove_all(aws, [orphan])


def test_a_template_that_is_gone(aws):
    template.delete_by_id(aws, "lt-0123456789abcdef0")
