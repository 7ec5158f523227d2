"""A deployment made and removed over the sandbox's own IAM, EC2, Scheduler and S3; and broken at every call."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from launcher.aws import fleet, killswitch, recurring
from launcher.aws.durable.place import find
from launcher.deploy import names, permits, raze, stand
from launcher.deploy.deployment import UNKNOWN, Deployment
from launcher.domain import Limits
from launcher.errors import GpurunError, SpecError
from launcher.schedule import deployed
from tests.deploy.conftest import BEGIN, record

KINDS = ["group", "object", "object", "object", "profile", "role", "role", "schedule", "template"]


def make(bench, wanted: Deployment) -> list[str]:
    said: list[str] = []
    stand.stand(bench.aws, wanted, said.append, lambda _: None)
    return said


def remove(bench, name: str = "digits", *, everything: bool = False) -> list[str]:
    said: list[str] = []
    place = find(bench.aws, f"s3://{bench.bucket}/w")
    raze.raze(bench.aws, name, place, everything=everything, tell=said.append)
    return said


def kinds(bench) -> list[str]:
    return sorted(kind for kind, _ in bench.standing())


def test_made_and_removed(bench):
    wanted = bench.plan()
    before = bench.standing()
    said = make(bench, wanted)
    assert kinds(bench) == KINDS
    machine, launch = names.machine_role("digits", "us-east-1"), names.launch_role("digits", "us-east-1")
    assert bench.roles() == {machine: [machine], launch: [launch]}
    (profile,) = bench.aws.iam.list_instance_profiles()["InstanceProfiles"]
    assert [role["RoleName"] for role in profile["Roles"]] == [machine]
    told = recurring.get(bench.aws, "gpurun-schedule-digits", "cron-1")
    assert (told["ScheduleExpression"], told["State"]) == ("cron(0 3 ? * 2 *)", "ENABLED")
    assert any("schedule cron-1" in each for each in said)
    # What `--print` shows is what was made.
    parts = {(kind, name) for kind, name, _ in stand.parts(wanted)}
    for kind, name in (
        ("IAM role", machine),
        ("EC2 launch template", wanted.template),
        ("Scheduler schedule", "cron-1"),
    ):
        assert (kind, name) in parts
    assert len(parts) == len(KINDS)
    document = bench.aws.iam.get_role_policy(RoleName=machine, PolicyName=machine)["PolicyDocument"]
    shown = {name: content for kind, name, content in stand.parts(wanted) if kind == "IAM role"}
    assert document == shown[machine]["permission"]
    remove(bench)
    assert bench.standing() == before
    remove(bench)
    assert bench.standing() == before


def test_made_twice_it_is_one_of_everything(bench):
    make(bench, bench.plan())
    before = bench.standing()
    later = BEGIN + timedelta(days=3)
    mark = deployed.Deployed(region="us-east-1", at=later.isoformat(), uri=f"s3://{bench.bucket}/w")
    changed = deployed.marked(record(considered_at=later, data_looked_at=later, data_seen="x"), mark)
    state = ("considered_at", "data_looked_at", "data_seen", "options")
    said = make(bench, bench.plan(**{each: getattr(changed, each) for each in state}))
    assert bench.standing() == before
    assert [each for each in said if "are there" in each] != []
    assert not [each for each in said if "sent" in each]


def test_a_changed_spec_replaces_what_has_changed(bench):
    first = bench.plan()
    make(bench, first)
    second = bench.plan(spec={"limits": Limits(max_hours=3.0)}, cron="0 4 1 * 1")
    make(bench, second)
    found = dict.fromkeys(kind for kind, _ in bench.standing())
    assert set(found) == set(KINDS)
    templates = bench.aws.ec2.describe_launch_templates()["LaunchTemplates"]
    assert [each["LaunchTemplateName"] for each in templates] == [second.template]
    assert first.template != second.template
    launch = names.launch_role("digits", "us-east-1")
    document = bench.aws.iam.get_role_policy(RoleName=launch, PolicyName=launch)["PolicyDocument"]
    assert templates[0]["LaunchTemplateId"] in json.dumps(document)
    for name in ("cron-1", "cron-2"):
        told = recurring.get(bench.aws, "gpurun-schedule-digits", name)
        assert templates[0]["LaunchTemplateId"] in told["Target"]["Input"]
    make(bench, first)
    assert [each for kind, each in bench.standing() if kind == "schedule"] == ["cron-1"]


def test_a_paused_one_does_not_fire(bench):
    make(bench, bench.plan(paused=True))
    assert recurring.get(bench.aws, "gpurun-schedule-digits", "cron-1")["State"] == "DISABLED"
    make(bench, bench.plan(paused=False))
    assert recurring.get(bench.aws, "gpurun-schedule-digits", "cron-1")["State"] == "ENABLED"


@pytest.mark.parametrize("tags", [{}, {names.TAG_STORE: "s3://elsewhere/w", "gpurun:schedule": "digits"}, {"a": "b"}])
@pytest.mark.parametrize("kind", ["group", "launch", "machine"])
def test_what_is_somebody_elses_is_left_alone(bench, kind, tags):
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    store = f"s3://{bench.bucket}/w"
    name = {
        "group": names.group("digits"),
        "launch": names.launch_role("digits", "us-east-1"),
        "machine": names.machine_role("digits", "us-east-1"),
    }[kind]
    if kind == "group":
        bench.aws.scheduler.create_schedule_group(Name=name, Tags=listed)
    else:
        trust = json.dumps(permits.machine_trust())
        bench.aws.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, Tags=listed)
    try:
        with pytest.raises(SpecError, match="elsewhere" if names.TAG_STORE in tags else name) as caught:
            raze.require_ours(bench.aws, "digits", store)
        assert caught.value.hint
    finally:
        if kind == "group":
            bench.aws.scheduler.delete_schedule_group(Name=name)
        else:
            bench.aws.iam.delete_role(RoleName=name)
    raze.require_ours(bench.aws, "digits", store)


def test_what_is_ours_is_ours_also_by_half(bench):
    wanted = bench.plan()
    make(bench, wanted)
    raze.require_ours(bench.aws, "digits", wanted.schedule.store)
    bench.aws.scheduler.delete_schedule_group(Name=names.group("digits"))
    raze.require_ours(bench.aws, "digits", wanted.schedule.store)
    with pytest.raises(SpecError, match="keeps its weights in"):
        raze.require_ours(bench.aws, "digits", "s3://another/place")
    remove(bench)


@pytest.fixture
def calls(bench, torment) -> list[str]:
    """What a whole deployment asks of AWS, in order."""
    wanted = bench.plan()
    torment.clear_journal()
    make(bench, wanted)
    found = [f"{each['service']} {each['action']}" for each in torment.journal()]
    remove(bench, everything=True)
    return found


def test_broken_at_every_call_undeploy_leaves_nothing(bench, torment, calls):
    """Each call is refused in its turn: what stands then is found, and goes."""
    wanted = bench.plan()
    before = bench.standing()
    assert len(calls) > 15
    broke = []
    for number, call in enumerate(calls):
        torment.fault({"effect": {"error": "AccessDenied", "status": 403}, "skip": number, "times": 1})
        try:
            make(bench, wanted)
        except GpurunError:
            broke.append(call)
        torment.clear_faults()
        remove(bench)
        assert bench.standing() == before, call
    assert len(broke) == len(calls)


def test_answers_that_are_lost_make_nothing_twice(bench, torment, calls):
    wanted = bench.plan()
    torment.fault({"match": {"action": "(?!GET|HEAD).*"}, "effect": {"drop": "after"}, "times": 4})
    make(bench, wanted)
    torment.clear_faults()
    assert kinds(bench) == KINDS
    remove(bench)


def test_broken_at_every_call_of_its_own_undeploy_again_ends_it(bench, torment):
    wanted = bench.plan()
    before = bench.standing()
    make(bench, wanted)
    torment.clear_journal()
    remove(bench)
    count = len(torment.journal())
    assert count > 10
    for number in range(count):
        make(bench, wanted)
        torment.fault({"effect": {"error": "AccessDenied", "status": 403}, "skip": number, "times": 1})
        with pytest.raises(GpurunError):
            remove(bench)
        torment.clear_faults()
        remove(bench)
        assert bench.standing() == before


def test_undeploy_ends_a_machine_that_runs_and_its_switch(bench):
    wanted = bench.plan()
    make(bench, wanted)
    (template,) = bench.aws.ec2.describe_launch_templates()["LaunchTemplates"]
    asked = wanted.fleet(template["LaunchTemplateId"])
    asked["ClientToken"] = "one"
    made = bench.aws.ec2.create_fleet(**asked)["Instances"][0]["InstanceIds"]
    assert raze.machines(bench.aws, "digits") == made
    killswitch.arm(
        bench.aws,
        run_id=names.run_id("digits"),
        segment=2,
        instance_ids=made,
        deadline=wanted.schedule.considered_at.replace(year=2035),
        role_arn=killswitch.role(bench.aws),
    )
    said = remove(bench)
    assert "1 machine" in said
    gone = fleet.describe(bench.aws, made[0])
    assert gone is None or gone.state == "terminated"
    assert killswitch.find(bench.aws) == []
    assert bench.standing() == []


def test_everything_is_its_folder_too_and_no_weights(bench):
    make(bench, bench.plan())
    for key in ("w/.schedules/digits/runs/r/log.txt", "w/.schedules/digits-2/x", "w/digits/versions/1.json"):
        bench.aws.s3.put_object(Bucket=bench.bucket, Key=key, Body=b"")
    remove(bench)
    kept = ["w/.schedules/digits-2/x", "w/.schedules/digits/runs/r/log.txt", "w/digits/versions/1.json"]
    assert [name for kind, name in bench.standing() if kind == "object"] == kept
    remove(bench, everything=True)
    assert [name for kind, name in bench.standing() if kind == "object"] == [kept[0], kept[2]]


def test_two_schedules_of_one_account_are_apart(bench):
    make(bench, bench.plan())
    one = bench.standing()
    make(bench, bench.plan("digits-2"))
    remove(bench, "digits-2")
    assert bench.standing() == one


def test_nothing_is_unknown_in_what_stands(bench):
    wanted = bench.plan()
    make(bench, wanted)
    (template,) = bench.aws.ec2.describe_launch_templates()["LaunchTemplates"]
    fires = recurring.get(bench.aws, "gpurun-schedule-digits", "cron-1")["Target"]["Input"]
    assert UNKNOWN not in fires
    assert template["LaunchTemplateId"] in fires
    assert replace(wanted, schedule=wanted.schedule).template == wanted.template
