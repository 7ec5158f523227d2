import pytest

from launcher.aws import fleet
from launcher.domain import Market
from launcher.errors import HostUnreachable, MachineGone, ProvisionError


@pytest.fixture
def machine(aws, image_id):
    """Start a plain tagged machine; its id."""

    def make(run_id="r1"):
        run = aws.ec2.run_instances(
            ImageId=image_id,
            MinCount=1,
            MaxCount=1,
            InstanceType="t3.micro",
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "gpurun:run", "Value": run_id}]}],
            NetworkInterfaces=[{"DeviceIndex": 0, "AssociatePublicIpAddress": True}],
        )
        return run["Instances"][0]["InstanceId"]

    return make


def described(instance_id, state, *, public="", reason=""):
    """What DescribeInstances answers of one machine."""
    code = reason.partition(":")[0]
    return (
        200,
        "<DescribeInstancesResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><reservationSet><item><instancesSet>"
        f"<item><instanceId>{instance_id}</instanceId><instanceType>g5.xlarge</instanceType>"
        f"<instanceState><name>{state}</name></instanceState><privateIpAddress>172.31.0.9</privateIpAddress>"
        + (f"<ipAddress>{public}</ipAddress>" if public else "")
        + "<placement><availabilityZone>us-east-1a</availabilityZone></placement>"
        f"<instanceLifecycle>spot</instanceLifecycle><stateReason><code>{code}</code><message>{reason}</message></stateReason>"
        "</item></instancesSet></item></reservationSet></DescribeInstancesResponse>",
    )


NOTHING = (
    200,
    "<DescribeInstancesResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><reservationSet/></DescribeInstancesResponse>",
)


def test_found_by_tag_alone(aws, machine):
    mine, _ = machine("r1"), machine("r2")
    (found,) = fleet.find(aws, run_id="r1")
    assert found.instance_id == mine
    assert (found.region, found.market, found.tags) == ("us-east-1", Market.ON_DEMAND, {"gpurun:run": "r1"})
    assert found.zone.startswith("us-east-1")
    assert found.launched_at is not None
    assert found.launched_at.tzinfo is not None


def test_found_in_any_state(aws, machine):
    instance_id = machine()
    fleet.terminate(aws, [instance_id])
    (found,) = fleet.find(aws, run_id="r1")
    assert found.gone
    assert found.state_reason.startswith("Client.UserInitiatedShutdown")


def test_a_run_without_machines(aws):
    assert fleet.find(aws, run_id="r9") == []


def test_described(aws, machine):
    instance_id = machine()
    assert fleet.describe(aws, instance_id).instance_id == instance_id
    assert fleet.describe(aws, "i-0123456789abcdef0") is None


def test_waiting_for_a_running_machine(aws, machine):
    instance = fleet.wait_running(aws, machine(), timeout_s=10)
    assert instance.state == "running"
    assert instance.public_address


def test_waiting_through_not_yet_known_and_pending(aws, cloud):
    cloud.answer(
        "DescribeInstances",
        lambda _: NOTHING,
        lambda _: described("i-1", "pending"),
        lambda _: described("i-1", "running"),
        lambda _: described("i-1", "running", public="198.18.0.7"),
    )
    assert fleet.wait_running(aws, "i-1", timeout_s=10).public_address == "198.18.0.7"
    assert len(cloud.asked("DescribeInstances")) == 4


def test_a_network_without_public_addresses(aws, cloud, monkeypatch):
    monkeypatch.setattr("launcher.aws.instances.PUBLIC_ADDRESS_GRACE_S", 0.1)
    cloud.answer("DescribeInstances", lambda _: described("i-1", "running"))
    instance = fleet.wait_running(aws, "i-1", timeout_s=10)
    assert (instance.public_address, instance.private_address) == (None, "172.31.0.9")


@pytest.mark.parametrize(
    "reason",
    [
        "Server.InsufficientInstanceCapacity: There is no Spot capacity",
        "Server.SpotInstanceTermination: taken back",
        "Client.VolumeLimitExceeded: Volume limit exceeded",
        "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
    ],
)
def test_a_machine_that_dies_first_is_told_with_its_reason(aws, cloud, reason):
    cloud.answer("DescribeInstances", lambda _: described("i-1", "terminated", reason=reason))
    with pytest.raises(MachineGone) as caught:
        fleet.wait_running(aws, "i-1", timeout_s=10)
    assert caught.value.reason == reason.partition(":")[0]
    assert reason in caught.value.message


def test_a_machine_that_stays_pending(aws, cloud):
    cloud.answer("DescribeInstances", lambda _: described("i-1", "pending"))
    with pytest.raises(HostUnreachable) as caught:
        fleet.wait_running(aws, "i-1", timeout_s=0.2)
    assert "i-1 is pending" in caught.value.message


def test_terminate_and_see_it(aws, machine):
    first, second = machine(), machine()
    fleet.terminate(aws, [first, second])
    ended = fleet.wait_terminated(aws, [first, second], timeout_s=10)
    assert {each.instance_id for each in ended} == {first, second}
    assert all(each.gone for each in ended)
    fleet.terminate(aws, [first, second])


def test_one_unknown_id_saves_no_other_machine(aws, machine):
    instance_id = machine()
    fleet.terminate(aws, ["i-0123456789abcdef0", instance_id])
    assert fleet.describe(aws, instance_id).gone


def test_unknown_ids_alone_are_fine(aws):
    fleet.terminate(aws, ["i-0123456789abcdef0"])
    assert fleet.wait_terminated(aws, ["i-0123456789abcdef0"], timeout_s=1) == []
    fleet.terminate(aws, [])


def test_nothing_to_wait_for_asks_nothing(aws, cloud):
    assert fleet.wait_terminated(aws, [], timeout_s=1) == []
    assert cloud.calls == []


def test_a_machine_that_does_not_end(aws, machine):
    instance_id = machine()
    with pytest.raises(ProvisionError) as caught:
        fleet.wait_terminated(aws, [instance_id], timeout_s=0.2)
    assert f"{instance_id} (running)" in caught.value.message
    assert caught.value.hint == "gpurun gc"


def test_console(aws, machine):
    assert "Linux version" in fleet.console_output(aws, machine())


def test_console_of_a_type_without_a_latest_page(aws, cloud, machine):
    cloud.answer(
        "GetConsoleOutput",
        lambda asked: (400, cloud.error_xml("UnsupportedOperation", "x")) if asked.get("Latest") else None,
    )
    assert "Linux version" in fleet.console_output(aws, machine())
