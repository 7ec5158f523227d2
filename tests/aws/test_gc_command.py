"""`gpurun gc` tells what has happened, not what it is about to do."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from launcher.aws import killswitch
from launcher.commands import gc
from launcher.errors import NotPermitted, ProvisionError
from launcher.owner import TAG_OWNER, owner
from tests.aws.leftover import leave_key_pair


@pytest.fixture
def laptop(account, cloud, monkeypatch, tmp_path):
    """The test's account as the environment's own, an empty ledger, and an AWS of one region."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(account.config_file))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(account.credentials_file))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    body = (
        "<DescribeRegionsResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><regionInfo><item>"
        "<regionName>us-east-1</regionName><optInStatus>opt-in-not-required</optInStatus>"
        "</item></regionInfo></DescribeRegionsResponse>"
    )
    cloud.answer("DescribeRegions", lambda _: (200, body))


@pytest.fixture
def left(aws, laptop):
    """A key pair and a volume that a run of ours has left."""
    tags = {"gpurun:run": "r1", TAG_OWNER: owner()}
    name = leave_key_pair(aws, "r1", tags)
    specification = {"ResourceType": "volume", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
    volume = aws.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, TagSpecifications=[specification])
    return [volume["VolumeId"], name]


def ids(orphans) -> list[str]:
    return [each["id"] for each in orphans]


def test_without_yes_nothing_is_removed(aws, left, capsys):
    assert gc.command(as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (ids(told["found"]), ids(told["would_remove"]), told["removed"], told["failed"]) == (left, left, [], [])
    assert gc.command() == 0
    text = capsys.readouterr().out
    assert text.count("would go") == 2
    assert "gpurun gc --yes" in text
    assert len(aws.ec2.describe_volumes(VolumeIds=left[:1])["Volumes"]) == 1


def test_what_was_removed_is_told_once_it_is(left, capsys):
    assert gc.command(yes=True, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (ids(told["removed"]), told["failed"]) == (left, [])
    assert gc.command(yes=True) == 0
    assert capsys.readouterr().out == "nothing carries a tag of gpurun\n"


def test_what_stays_is_told_with_its_reason_and_status_4(cloud, left, capsys):
    cloud.refuse("DeleteVolume", "UnauthorizedOperation", "not in this house", status=403)
    assert gc.command(yes=True) == 4
    told = capsys.readouterr()
    fates = {line.split()[0]: line.split("  ")[-1].strip() for line in told.out.splitlines()}
    assert (fates["volume"], fates["key-pair"]) == ("not removed", "removed")
    assert f"volume {left[0]} is still there" in told.err


def test_what_stays_is_told_in_json(cloud, left, capsys):
    cloud.refuse("DeleteVolume", "UnauthorizedOperation", "not in this house", status=403)
    assert gc.command(yes=True, as_json=True) == 4
    told = json.loads(capsys.readouterr().out)
    (failure,) = told["failed"]
    assert (ids(told["removed"]), failure["orphan"]["id"]) == (left[1:], left[0])
    assert failure["error"]


@pytest.mark.parametrize("zone", ["", "Z", "+00:00"])
@pytest.mark.parametrize(("hours", "goes"), [(-1, True), (1, False)])
def test_another_laptop_s_run_goes_when_its_deadline_is_past(aws, laptop, capsys, zone, hours, goes):
    deadline = f"{datetime.now(UTC) + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}{zone}"
    tags = {"gpurun:run": "r9", TAG_OWNER: "somebody@else", "gpurun:deadline": deadline}
    leave_key_pair(aws, "r9", tags)
    assert gc.command(as_json=True) == 0
    assert bool(json.loads(capsys.readouterr().out)["would_remove"]) is goes


def test_a_deadline_that_is_none_speaks_for_keeping_it(aws, laptop, capsys):
    tags = {"gpurun:run": "r9", TAG_OWNER: "somebody@else", "gpurun:deadline": "soon"}
    leave_key_pair(aws, "r9", tags)
    assert gc.command(as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["would_remove"] == []


def test_a_permission_that_is_missing_is_told_in_one_line_and_by_the_status(cloud, left, capsys):
    cloud.refuse("DescribeImages", "UnauthorizedOperation", status=403)
    assert gc.command(yes=True) == 4
    told = capsys.readouterr()
    assert told.out.count("removed") == 2
    (line,) = [line for line in told.err.splitlines() if line.startswith("warning")]
    assert line.startswith("warning: image: could not be looked for in us-east-1: ")


@pytest.fixture
def two_regions(cloud, laptop):
    items = "".join(
        f"<item><regionName>{name}</regionName><optInStatus>opt-in-not-required</optInStatus></item>"
        for name in ("us-east-1", "eu-west-1")
    )
    body = (
        "<DescribeRegionsResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'>"
        f"<regionInfo>{items}</regionInfo></DescribeRegionsResponse>"
    )
    cloud.answer("DescribeRegions", lambda _: (200, body))


@pytest.mark.parametrize(("code", "expected"), [("UnauthorizedOperation", 0), ("InternalFailure", 4)])
def test_a_region_that_is_closed_is_no_failure_and_one_that_is_ill_is(
    cloud, left, two_regions, monkeypatch, capsys, code, expected
):
    def away(asked):
        return (400, cloud.error_xml(code, "no")) if asked["signed_for"] == "eu-west-1" else None

    for action in (
        *("DescribeInstances", "DescribeVolumes", "DescribeAddresses", "DescribeLaunchTemplates", "DescribeKeyPairs"),
        *("DescribeSecurityGroups", "DescribeSecurityGroupRules", "DescribeImages", "DescribeSnapshots"),
    ):
        cloud.answer(action, away)
    find = killswitch.find
    monkeypatch.setattr(killswitch, "find", lambda where: find(where) if where.region == "us-east-1" else _no(code))
    assert gc.command() == expected
    told = capsys.readouterr()
    assert told.out.count("would go") == 2
    (line,) = [line for line in told.err.splitlines() if line.startswith("warning")]
    assert line.startswith("warning: eu-west-1 could not be searched: ")


def _no(code):
    raise (NotPermitted if code == "UnauthorizedOperation" else ProvisionError)("no", code=code)
