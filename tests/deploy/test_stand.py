"""A deployment made and removed over the sandbox's own IAM, EC2, Scheduler and S3; and broken at every call."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

import pytest

from launcher.aws import fleet, killswitch, policy, recurring
from launcher.deploy import names, permits, raze, stand
from launcher.deploy.deployment import UNKNOWN
from launcher.deploy.lease import Desk, Held, Lease
from launcher.domain import Limits
from launcher.errors import ProvisionError, SpecError
from launcher.schedule import deployed
from tests.deploy.conftest import BEGIN, make, record, remove

KINDS = ["group", "object", "object", "object", "profile", "role", "role", "schedule", "template"]


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
            recurring.remove_group(bench.aws, name)
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
    desk = Desk(aws=bench.aws, bucket=bench.bucket, prefix=wanted.prefix)
    far, now = BEGIN.replace(year=2035), datetime.now(UTC)
    assert isinstance(desk.take(made[0], "", far, now), Lease)
    assert isinstance(desk.take("i-next", "", far, now), Held)
    said = remove(bench)
    assert "1 machine" in said
    assert isinstance(desk.take("i-next", "", far, now), Lease), "its turn is over, too"
    gone = fleet.describe(bench.aws, made[0])
    assert gone is None or gone.state == "terminated"
    assert killswitch.find(bench.aws) == []
    remove(bench, everything=True)
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


def permitted(action: str, resource: str) -> bool:
    """Whether the policies that `gpurun doctor --print-iam --deploy` writes name it."""
    for statement in (*policy.document()["Statement"], *policy.deploy()["Statement"]):
        actions, resources = statement["Action"], statement["Resource"]
        if action in ([actions] if isinstance(actions, str) else actions):
            listed = [resources] if isinstance(resources, str) else resources
            if not resource or any(fnmatchcase(resource, each) for each in listed):
                return True
    return False


def test_whoever_has_the_policy_may_do_it_all(bench, torment):
    """Every call of a deployment and its end, and each role and profile by its name."""
    wanted = bench.plan()
    torment.clear_journal()
    raze.require_ours(bench.aws, "digits", wanted.schedule.store)
    make(bench, wanted)
    make(bench, bench.plan(spec={"limits": Limits(max_hours=2.0)}))
    remove(bench)
    asked = [each for each in torment.journal() if each["service"] in {"iam", "scheduler", "ec2"}]
    assert {each["service"] for each in asked} == {"iam", "scheduler", "ec2"}
    for each in asked:
        resource = ""
        if each["service"] == "iam":
            profile, role = each["params"].get("InstanceProfileName"), each["params"].get("RoleName")
            name = f"instance-profile/{profile}" if profile else f"role/{role}"
            resource = f"arn:aws:iam::123456789012:{name}"
        assert permitted(f"{each['service']}:{each['action']}", resource), each
    assert not permitted("iam:PutRolePolicy", "arn:aws:iam::123456789012:role/gpurun-scheduler")


def test_objects_that_s3_keeps_are_told(bench):
    make(bench, bench.plan())

    def keep(parsed, **_) -> None:
        parsed["Errors"] = [{"Key": "w/x", "Code": "AccessDenied", "Message": "Access Denied"}]

    events = bench.aws.s3.meta.events
    events.register("after-call.s3.DeleteObjects", keep)
    try:
        with pytest.raises(ProvisionError, match=r"1 objects below .* were not removed: Access Denied"):
            remove(bench)
    finally:
        events.unregister("after-call.s3.DeleteObjects", keep)
    remove(bench)
    assert "object" not in {kind for kind, name in bench.standing() if name.endswith(".tar.gz")}
