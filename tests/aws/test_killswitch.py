"""The kill switch in the cloud, against the sandbox's scheduler, which fires."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.aws import killswitch
from launcher.aws.client import Aws
from launcher.errors import NotArmed
from launcher.sandbox.client import SandboxClient

RUN_IDS = st.text("abcz019-", min_size=1, max_size=71)


@pytest.fixture
def torment(sandbox_none):
    client = SandboxClient(sandbox_none.endpoint_url)
    client.clear_journal()
    yield client
    client.clear_faults()


@pytest.fixture
def aws(sandbox_none) -> Aws:
    return Aws(sandbox_none.account)


@pytest.fixture
def machine(aws):
    def launch(run_id: str = "r-1") -> str:
        answer = aws.ec2.run_instances(
            ImageId=aws.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"],
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "gpurun:run", "Value": run_id}]}],
        )
        made.append(answer["Instances"][0]["InstanceId"])
        return made[-1]

    made: list[str] = []
    yield launch
    if made:
        aws.ec2.terminate_instances(InstanceIds=made)


def arm(aws: Aws, instance_id: str, in_s: float, run_id: str = "r-1", segment: int = 1, **changed) -> killswitch.Armed:
    return killswitch.arm(
        aws,
        run_id=run_id,
        segment=segment,
        instance_ids=[instance_id],
        deadline=datetime.now(UTC) + timedelta(seconds=in_s),
        role_arn=changed.get("role_arn") or killswitch.role(aws),
    )


def state(aws: Aws, instance_id: str) -> str:
    answer = aws.ec2.describe_instances(InstanceIds=[instance_id])
    return answer["Reservations"][0]["Instances"][0]["State"]["Name"]


def wait_until_gone(aws: Aws, instance_id: str, limit_s: float = 20) -> datetime:
    limit = time.monotonic() + limit_s
    while state(aws, instance_id) != "terminated":
        assert time.monotonic() < limit
        time.sleep(0.02)
    return datetime.now(UTC)


def calls(torment) -> list[str]:
    return [call["action"] for call in torment.journal() if call["service"] in {"scheduler", "sts"}]


def test_the_machine_ends_at_the_deadline_and_the_switch_removes_itself(aws, machine):
    mine, other = machine(), machine("r-2")
    armed = arm(aws, mine, 2)
    assert armed.fires_at.microsecond == 0
    assert wait_until_gone(aws, mine) >= armed.fires_at
    assert state(aws, other) == "running"
    assert killswitch.find(aws) == []


def test_it_takes_two_calls(aws, machine, torment):
    instance_id = machine()
    arm(aws, instance_id, 600)
    torment.clear_journal()
    arm(aws, instance_id, 600, segment=2)
    assert calls(torment) == ["GetCallerIdentity", "CreateSchedule"]
    killswitch.disarm(aws, run_id="r-1")


def test_in_a_region_without_our_group_it_is_made(aws, torment):
    there = aws.at("eu-west-1")
    armed = arm(there, "i-0123456789abcdef0", 600)
    assert calls(torment) == ["GetCallerIdentity", "CreateSchedule", "CreateScheduleGroup", "CreateSchedule"]
    assert [each.name for each in killswitch.find(there)] == [armed.name]
    assert killswitch.find(aws) == []
    killswitch.disarm(there, run_id="r-1")


def test_arming_again_sets_the_new_deadline(aws, machine):
    instance_id = machine()
    arm(aws, instance_id, 600)
    earlier = arm(aws, instance_id, 300)
    assert [(each.fires_at, each.run_id) for each in killswitch.find(aws)] == [(earlier.fires_at, "r-1")]
    arm(aws, instance_id, 0)
    wait_until_gone(aws, instance_id)


def test_what_is_found_tells_whose_it_is(aws, machine):
    instance_id = machine()
    armed = arm(aws, instance_id, 600)
    (found,) = killswitch.find(aws)
    assert (found.name, found.region, found.run_id) == (armed.name, "us-east-1", "r-1")
    assert (found.fires_at, found.instance_ids) == (armed.fires_at, (instance_id,))
    assert found.created_at is not None
    killswitch.remove(aws, found.name)
    killswitch.remove(aws, found.name)
    assert killswitch.find(aws) == []


def test_disarming_removes_the_runs_own_and_no_other(aws, machine):
    instance_id = machine()
    for run_id, segment in (("r-1", 1), ("r-1", 2), ("r-1-1", 1), ("r-11", 1)):
        arm(aws, instance_id, 600, run_id=run_id, segment=segment)
    killswitch.disarm(aws, run_id="r-1")
    assert [each.run_id for each in killswitch.find(aws)] == ["r-1-1", "r-11"]
    for run_id in ("r-1", "r-1-1", "r-11", "never-was"):
        killswitch.disarm(aws, run_id=run_id)
    assert killswitch.find(aws) == []


def test_an_account_without_the_role_is_told_what_to_do(aws):
    with pytest.raises(NotArmed) as caught:
        arm(aws, "i-0123456789abcdef0", 600, role_arn="arn:aws:iam::123456789012:role/another")
    assert "no role gpurun-scheduler" in caught.value.message
    assert "gpurun doctor --print-iam" in caught.value.hint
    assert killswitch.find(aws) == []


@pytest.mark.parametrize("error", ["AccessDeniedException", "ServiceQuotaExceededException", "expired-credentials"])
def test_whatever_goes_wrong_is_no_failure_of_a_run(aws, torment, error):
    torment.fault({"match": {"service": "scheduler"}, "effect": {"error": error}, "times": -1})
    with pytest.raises(NotArmed) as caught:
        arm(aws, "i-0123456789abcdef0", 600)
    assert caught.value.hint
    with pytest.raises(NotArmed):
        killswitch.disarm(aws, run_id="r-1")


def test_a_switch_whose_removal_is_throttled_is_removed_all_the_same(aws, torment, machine):
    armed = arm(aws, machine(), 600)
    throttled = {"error": "ThrottlingException", "status": 429}
    # One more than botocore itself tries.
    torment.fault({"match": {"action": "DeleteSchedule"}, "effect": throttled, "times": 4})
    killswitch.remove(aws, armed.name)
    assert armed.name not in [each.name for each in killswitch.find(aws)]


def test_a_throttled_call_is_repeated(aws, torment):
    torment.fault({"match": {"action": "CreateSchedule"}, "effect": {"error": "ThrottlingException", "status": 429}})
    arm(aws, "i-0123456789abcdef0", 600)
    assert len(killswitch.find(aws)) == 1
    killswitch.disarm(aws, run_id="r-1")


def test_a_lost_reply_makes_no_second_switch_and_no_failure(aws, torment):
    torment.fault({"match": {"action": "CreateSchedule"}, "effect": {"drop": "after"}})
    armed = arm(aws, "i-0123456789abcdef0", 600)
    assert [each.name for each in killswitch.find(aws)] == [armed.name]
    killswitch.disarm(aws, run_id="r-1")


@given(RUN_IDS, st.integers(1, 99_999))
def test_names_fit_scheduler_whatever_the_run(run_id, segment):
    assert re.fullmatch(r"[0-9a-zA-Z-_.]{1,64}", f"{killswitch.prefix_of(run_id)}{segment}")


@given(RUN_IDS, RUN_IDS)
def test_no_runs_names_begin_as_anothers(one, other):
    if one != other:
        assert not killswitch.prefix_of(one).startswith(killswitch.prefix_of(other))
