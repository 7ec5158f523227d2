"""`gpurun gc`, on a laptop that never heard of a deployment: its machine lives its time, and no longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from launcher.aws import killswitch, orphans
from launcher.aws import tags as tagging
from launcher.commands.fates import Judge
from launcher.deploy import names, raze, stand
from launcher.domain import Limits
from launcher.owner import owner

HOURS = 2.5
HOUR = timedelta(hours=1)


@pytest.fixture
def deployed(bench):
    """A deployment with a machine at work, its kill switch set; gives the machine and when it was launched."""
    wanted = bench.plan(spec={"limits": Limits(max_hours=HOURS)})
    stand.stand(bench.aws, wanted, lambda _: None, lambda _: None)
    (template,) = bench.aws.ec2.describe_launch_templates()["LaunchTemplates"]
    asked = wanted.fleet(template["LaunchTemplateId"])
    asked["ClientToken"] = f"gc-{bench.bucket}"
    (machine,) = bench.aws.ec2.create_fleet(**asked)["Instances"][0]["InstanceIds"]
    shown = bench.aws.ec2.describe_instances(InstanceIds=[machine])["Reservations"][0]["Instances"][0]
    killswitch.arm(
        bench.aws,
        run_id=names.run_id("digits"),
        segment=2,
        instance_ids=[machine],
        deadline=datetime.now(UTC) + HOURS * HOUR,
        role_arn=killswitch.role(bench.aws),
    )
    assert raze.machines(bench.aws, "digits") == [machine]
    return machine, shown["LaunchTime"]


def doomed(bench, now: datetime, *, everybody: bool = False) -> list[tuple[str, str]]:
    judge = Judge(owner=owner(), everybody=everybody, now=now, blind=frozenset())
    return [(each.kind, each.id) for each in judge.doomed(orphans.find(bench.aws), [])]


def test_a_machine_is_left_alone_until_its_time_is_up(bench, deployed):
    machine, launched_at = deployed
    shown = bench.aws.ec2.describe_instances(InstanceIds=[machine])["Reservations"][0]["Instances"][0]
    told = tagging.to_dict(shown["Tags"])
    assert float(told[tagging.TAG_HOURS]) == HOURS
    assert told["gpurun:owner"] == "schedule:digits"
    for hours in (0.1, 1.5, HOURS - 0.05):
        assert doomed(bench, launched_at + hours * HOUR) == [], hours


def test_after_its_time_it_goes(bench, deployed):
    machine, launched_at = deployed
    late = launched_at + (HOURS + 1.1) * HOUR
    assert ("instance", machine) in doomed(bench, late, everybody=True)
    assert ("instance", machine) in doomed(bench, late)


def test_what_the_deployment_stands_of_is_no_orphan(bench, deployed):
    found = {(each.kind, each.run_id) for each in orphans.find(bench.aws)}
    assert {kind for kind, _ in found} == {"instance", "schedule"}
    assert {run_id for _, run_id in found} == {"schedule-digits"}


@pytest.mark.parametrize("hours", ["", "many", "-1", "1e9", "99999", "nan", "2.5 "])
def test_a_tag_that_is_nonsense_gives_no_deadline(bench, deployed, hours):
    machine, launched_at = deployed
    bench.aws.ec2.create_tags(Resources=[machine], Tags=[{"Key": tagging.TAG_HOURS, "Value": hours}])
    (found,) = [each for each in orphans.find(bench.aws) if each.kind == "instance"]
    assert "gpurun:deadline" not in found.tags
    assert doomed(bench, launched_at + timedelta(minutes=1)) == []
