import pytest

from launcher.aws import fleet, keypair, network, orphans, permissions, template
from launcher.errors import NotPermitted, ProvisionError, SpecError

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
            key_name=keypair.import_key(aws, run_id=run_id, public_line=permissions.PUBLIC_KEY.decode(), tags=tags),
            user_data="",
            disk_gib=20,
            tags=tags,
        ),
    )
    aws.ec2.create_volume(
        AvailabilityZone="us-east-1a",
        Size=1,
        TagSpecifications=[
            {"ResourceType": "volume", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        ],
    )


def test_all_is_found_from_tags_alone(aws, image, offer):
    leave(aws, image, offer)
    found = orphans.find(aws)
    assert [each.kind for each in found] == list(orphans.KINDS)
    assert {each.run_id for each in found} == {"r1"}
    assert {each.region for each in found} == {"us-east-1"}
    assert all(each.tags == TAGS for each in found)
    assert {each.name for each in found} == {"gpurun r1"}
    assert found[0].state == "running"


def test_what_is_not_ours_is_left_out(aws, image_id):
    aws.ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1, InstanceType="t3.micro")
    aws.ec2.create_key_pair(KeyName="mine")
    assert orphans.find(aws) == []


def test_all_is_removed_and_nothing_else(aws, image, image_id, offer):
    leave(aws, image, offer)
    kept = aws.ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1, InstanceType="t3.micro")
    assert orphans.remove_all(aws, reversed(orphans.find(aws))) == ()
    assert orphans.find(aws) == []
    assert fleet.describe(aws, kept["Instances"][0]["InstanceId"]).state == "running"


@pytest.mark.parametrize(
    ("action", "kind"),
    [("DeleteVolume", "volume"), ("DeleteLaunchTemplate", "launch-template"), ("DeleteKeyPair", "key-pair")],
)
def test_what_cannot_be_removed_is_told_and_the_others_go(aws, cloud, image, offer, action, kind):
    for run_id in ("r1", "r2"):
        leave(aws, image, offer, run_id)
    cloud.refuse(action, "UnauthorizedOperation", status=403)
    failed = orphans.remove_all(aws, orphans.find(aws))
    assert sorted((each.orphan.kind, each.orphan.run_id) for each in failed) == [(kind, "r1"), (kind, "r2")]
    assert {type(each.error) for each in failed} == {NotPermitted}
    assert [each.kind for each in orphans.find(aws)] == [kind, kind]


def test_removing_what_is_gone_is_harmless(aws, image, offer):
    leave(aws, image, offer)
    found = orphans.find(aws)
    for _ in range(2):
        for each in found:
            orphans.remove(aws, each)
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
        keypair.import_key(aws.at(region), run_id=run_id, public_line=permissions.PUBLIC_KEY.decode(), tags=TAGS)
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


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "AuthFailure"])
def test_a_region_that_refuses_us_is_named_and_the_others_are_searched(aws, cloud, two_regions, code):
    keypair.import_key(aws, run_id="r1", public_line=permissions.PUBLIC_KEY.decode(), tags=TAGS)
    refuse_in(cloud, "eu-west-1", code)
    survey = orphans.survey(aws)
    assert [each.run_id for each in survey.orphans] == ["r1"]
    assert list(survey.refused) == ["eu-west-1"]


@pytest.mark.parametrize(("region", "code"), [("us-east-1", "UnauthorizedOperation"), ("eu-west-1", "InternalFailure")])
def test_what_was_not_searched_does_not_look_clean(aws, cloud, two_regions, region, code):
    refuse_in(cloud, region, code, 400)
    with pytest.raises(ProvisionError):
        orphans.survey(aws)


def test_a_kind_that_is_not_ours(aws):
    orphan = orphans.Orphan(kind="bucket", id="b", region="us-east-1", run_id="r", name="", created_at=None, state="")
    with pytest.raises(SpecError):
        orphans.remove(aws, orphan)


def test_a_template_that_is_gone(aws):
    template.delete_by_id(aws, "lt-0123456789abcdef0")
