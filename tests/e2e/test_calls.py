"""How often a run asks AWS for anything: each call may be throttled, and takes its time."""

import json

import pytest

from launcher.sandbox.client import SandboxClient

MOST = 25


@pytest.fixture
def admin(cloud):
    it = SandboxClient(cloud.endpoint_url)
    it.clear_faults()
    it.clear_journal()
    yield it
    it.clear_faults()


def actions(admin):
    return [f"{each['action']} {each['status']}" for each in admin.journal()]


def test_a_plain_run_takes_few_calls_from_its_plan_to_its_teardown_with_nothing_kept(laptop, admin):
    done = laptop.gpurun("launch", "--sandbox", "--json", laptop.job("echo hello\n"))
    assert done.returncode == 0, done.stderr
    assert 10 < len(actions(admin)) <= MOST, actions(admin)
    receipt = json.loads(done.stdout.splitlines()[-1])
    assert (receipt["event"], receipt["api_calls"]) == ("receipt", len(actions(admin)))
    assert laptop.living() == []


def test_the_calls_of_every_launcher_of_a_run_are_in_its_receipt(laptop, admin):
    let_go = laptop.gpurun("launch", "--sandbox", "--detach", laptop.job("echo hello\n"))
    assert let_go.returncode == 0, let_go.stderr
    first = len(actions(admin))
    done = laptop.gpurun("resume", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["api_calls"] == len(actions(admin)) > first


def test_a_run_that_nobody_has_room_for_asks_each_market_once_and_leaves_nothing(laptop, admin):
    admin.fault({"match": {"action": "RunInstances"}, "effect": {"error": "InsufficientInstanceCapacity"}, "times": -1})
    done = laptop.gpurun("launch", "--sandbox", "--gpu", "t4", laptop.job("echo hello\n"))
    assert done.returncode == 4, done.stderr
    assert "no capacity for g4dn.xlarge" in done.stderr
    assert "gpurun launch --wait" in done.stderr
    planned = actions(admin).index("DescribeSubnets 200")
    assert actions(admin)[planned:] == [
        "DescribeSubnets 200",
        "CreateLaunchTemplate 200",
        "CreateFleet 200",
        "CreateFleet 200",
        "DeleteLaunchTemplate 200",
    ]
    (run,) = laptop.runs()
    assert run["status"] == "failed"
    admin.clear_faults()
    admin.clear_journal()
    again = laptop.gpurun("launch", "--sandbox", "--gpu", "t4", laptop.job("echo hello\n"))
    assert again.returncode == 4, again.stderr
    assert "s ago and not asked again" in again.stderr
    assert "CreateFleet 200" not in actions(admin)
