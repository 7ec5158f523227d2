import base64
import json
from dataclasses import replace
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.aws import fleet, network, verdict
from launcher.aws.faulttable import Kind, Scope, fault_of
from launcher.domain import Market
from launcher.errors import (
    BrokenRequest,
    NotPermitted,
    PriceTooHigh,
    QuotaExceeded,
)

TAGS = {"gpurun:run": "r1", "gpurun:name": "mnist", "Name": "gpurun r1"}
SPOT, ON_DEMAND = Market.SPOT, Market.ON_DEMAND


@pytest.fixture
def request_for(aws, image, offer):
    """Make the request of one run, whole, with the offers that are given."""

    def make(*offers, **changes):
        asked = fleet.FleetRequest(
            run_id="r1",
            token="token-1",
            image=image,
            offers=offers or (offer(),),
            subnets=network.default_subnets(aws, []),
            group_id=network.open_ingress(aws, run_id="r1", cidr="203.0.113.7/32", tags=TAGS).group_id,
            user_data="#!/bin/sh\necho hello\n",
            disk_gib=60,
            tags=TAGS,
        )
        return replace(asked, **changes)

    return make


def template_of(aws):
    (found,) = aws.ec2.describe_launch_templates()["LaunchTemplates"]
    versions = aws.ec2.describe_launch_template_versions(LaunchTemplateId=found["LaunchTemplateId"])
    return found, versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]


def test_a_machine_is_made(aws, request_for, offer):
    instance = fleet.launch(aws, request_for(offer(zone="us-east-1c")))
    assert instance.instance_id.startswith("i-")
    assert (instance.instance_type, instance.zone, instance.market) == ("g4dn.xlarge", "us-east-1c", SPOT)
    assert instance.state == "pending"
    (found,) = fleet.find(aws, run_id="r1")
    assert found.instance_id == instance.instance_id
    assert found.market is SPOT
    assert found.tags == TAGS


def test_the_template_holds_what_keeps_it_safe_and_cheap(aws, request_for):
    asked = request_for()
    fleet.launch(aws, asked)
    template, data = template_of(aws)
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    (disk,) = data["BlockDeviceMappings"]
    assert disk["DeviceName"] == "/dev/sda1"
    assert disk["Ebs"] == {"Encrypted": True, "DeleteOnTermination": True, "VolumeSize": 60, "VolumeType": "gp3"}
    (interface,) = data["NetworkInterfaces"]
    assert interface["Groups"] == [asked.group_id]
    assert interface["AssociatePublicIpAddress"] is True
    assert "KeyName" not in data, "the SSH key travels in the user-data"
    assert base64.b64decode(data["UserData"]).decode() == asked.user_data
    assert "IamInstanceProfile" not in data
    tagged = {each["ResourceType"]: {t["Key"]: t["Value"] for t in each["Tags"]} for each in data["TagSpecifications"]}
    assert (tagged["instance"], tagged["volume"]) == (TAGS, TAGS)
    assert {tag["Key"]: tag["Value"] for tag in template["Tags"]} == TAGS


def test_the_disk_is_never_smaller_than_the_image(aws, request_for, image):
    fleet.launch(aws, request_for(disk_gib=1, image=replace(image, root_size_gib=45)))
    assert template_of(aws)[1]["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 45


def test_one_call_over_all_pools(aws, request_for, offer, cloud):
    zones = ("us-east-1a", "us-east-1b")
    asked = request_for(*(offer(kind, zone) for kind in ("g4dn.xlarge", "g5.xlarge") for zone in zones))
    fleet.launch(aws, asked)
    (call,) = cloud.asked("CreateFleet")
    assert call["Type"] == "instant"
    assert call["SpotOptions.AllocationStrategy"] == "price-capacity-optimized"
    assert call["TargetCapacitySpecification.TotalTargetCapacity"] == "1"
    assert call["TargetCapacitySpecification.DefaultTargetCapacityType"] == "spot"
    prefix = "LaunchTemplateConfigs.1.Overrides"
    pools = {(call[f"{prefix}.{n}.InstanceType"], call[f"{prefix}.{n}.SubnetId"]) for n in range(1, 5)}
    assert pools == {(kind, asked.subnets[zone]) for kind in ("g4dn.xlarge", "g5.xlarge") for zone in zones}
    assert f"{prefix}.5.InstanceType" not in call


def test_the_whole_line_takes_few_calls(aws, request_for, cloud):
    asked = request_for()
    cloud.calls.clear()
    cloud.parameters.clear()
    fleet.launch(aws, asked)
    assert cloud.calls == ["CreateLaunchTemplate", "CreateFleet"]


def test_the_price_cap_travels(aws, request_for, offer, cloud):
    fleet.launch(aws, request_for(offer(price=0.2), offer("g5.xlarge", price=0.9), max_price_usd_per_hour=0.35))
    (call,) = cloud.asked("CreateFleet")
    assert call["LaunchTemplateConfigs.1.Overrides.1.MaxPrice"] == "0.35"
    assert "LaunchTemplateConfigs.1.Overrides.2.InstanceType" not in call


def test_all_offers_over_the_cap(aws, request_for, offer, cloud):
    with pytest.raises(PriceTooHigh):
        fleet.launch(aws, request_for(offer(price=0.9), max_price_usd_per_hour=0.1))
    assert not cloud.asked("CreateFleet")


def test_offers_in_zones_without_a_subnet(aws, request_for, offer, cloud):
    with pytest.raises(BrokenRequest) as caught:
        fleet.launch(aws, request_for(offer(zone="us-east-1z")))
    assert "us-east-1z" in caught.value.message
    assert not cloud.asked("CreateFleet")


def test_each_market_is_a_call_of_its_own_kind(aws, request_for, offer, cloud):
    spot = request_for(offer(), max_price_usd_per_hour=1.0)
    assert fleet.launch(aws, spot).market is SPOT
    on_demand = replace(spot, offers=(offer(market=ON_DEMAND, price=0.526),), token="token-2")
    assert fleet.launch(aws, on_demand).market is ON_DEMAND
    first, second = cloud.asked("CreateFleet")
    assert (first["ClientToken"], second["ClientToken"]) == ("token-1", "token-2")
    assert "OnDemandOptions.AllocationStrategy" not in first
    assert "SpotOptions.AllocationStrategy" not in second
    assert "LaunchTemplateConfigs.1.Overrides.1.MaxPrice" not in second


def test_a_template_that_is_made_already_is_used(aws, request_for, cloud):
    asked = request_for()
    fleet.launch(aws, asked)
    (name,) = [each["LaunchTemplateName"] for each in cloud.asked("CreateLaunchTemplate")]
    fleet.launch(aws, replace(asked, template=name))
    assert len(cloud.asked("CreateLaunchTemplate")) == 1


@pytest.mark.parametrize(
    ("code", "kind", "scope", "step"),
    [
        ("InsufficientInstanceCapacity", Kind.CAPACITY, Scope.POOL, "more instance types"),
        ("MaxSpotInstanceCountExceeded", Kind.QUOTA, Scope.QUOTA, "ec2/quotas/L-3819A6DF"),
        ("SpotMaxPriceTooLow", Kind.PRICE, Scope.POOL, "max_price"),
        ("UnauthorizedOperation", Kind.PERMISSION, Scope.REGION, "iam-policy.json"),
        ("AuthFailure", Kind.PERMISSION, Scope.ACCOUNT, "aws configure"),
        (
            "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
            Kind.PERMISSION,
            Scope.MARKET,
            "create-service-linked-role",
        ),
        ("InvalidAMIID.NotFound", Kind.BROKEN, Scope.REGION, "AMI"),
        ("SomethingNew", Kind.UNKNOWN, Scope.POOL, "gpurun doctor"),
    ],
)
def test_a_fleet_that_made_nothing(aws, request_for, cloud, code, kind, scope, step):
    asked = request_for()
    cloud.empty_fleet(("g4dn.xlarge", asked.subnets["us-east-1b"], code, "sorry"))
    (refusal,) = fleet.launch(aws, asked)
    assert (refusal.kind, refusal.scope, refusal.code) == (kind, scope, code)
    assert step in refusal.step
    assert (refusal.market, refusal.instance_type, refusal.zone) == (SPOT, "g4dn.xlarge", "us-east-1b")


def test_a_fleet_that_says_nothing_is_lack_of_capacity_everywhere(aws, request_for, offer, cloud):
    cloud.empty_fleet()
    (refusal,) = fleet.launch(aws, request_for())
    assert refusal.kind is Kind.CAPACITY
    assert refusal.bars(offer(zone="us-east-1f"))
    assert not refusal.bars(offer(market=ON_DEMAND))


def test_the_call_itself_is_refused(aws, request_for, cloud):
    cloud.refuse("CreateFleet", "UnauthorizedOperation", "not authorized to perform: ec2:CreateFleet", 403)
    (refusal,) = fleet.launch(aws, request_for())
    assert refusal.kind is Kind.PERMISSION
    assert "ec2:CreateFleet" in refusal.step


def test_a_permission_in_code_is_decoded(aws, request_for, cloud):
    cloud.refuse("CreateFleet", "UnauthorizedOperation", "Encoded authorization failure message: AbC", 403)
    decoded = json.dumps({"context": {"action": "ec2:RunInstances"}})
    cloud.answer("DecodeAuthorizationMessage", lambda _: (200, decoded_xml(decoded)))
    (refusal,) = fleet.launch(aws, request_for())
    assert "ec2:RunInstances" in refusal.step


def decoded_xml(text):
    return (
        '<DecodeAuthorizationMessageResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<DecodeAuthorizationMessageResult><DecodedMessage>{escape(text)}</DecodedMessage>"
        "</DecodeAuthorizationMessageResult></DecodeAuthorizationMessageResponse>"
    )


def test_a_lost_reply_is_asked_for_again_with_the_same_token(aws, request_for, cloud):
    cloud.lose_reply.add("CreateFleet")
    instance = fleet.launch(aws, request_for())
    assert instance.instance_id.startswith("i-")
    first, second = cloud.asked("CreateFleet")
    assert first == second
    assert first["ClientToken"].startswith("token-1")


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "InternalError", "Unavailable"])
def test_a_hiccup_is_asked_again_with_the_same_token(aws, request_for, cloud, code):
    cloud.answer("CreateFleet", lambda _: (503, cloud.error_xml(code, "busy")), lambda _: None)
    fleet.launch(aws, request_for())
    assert len({call["ClientToken"] for call in cloud.asked("CreateFleet")}) == 1
    assert len(cloud.asked("CreateFleet")) == 2


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(fleet, "ATTEMPTS", 3)
    monkeypatch.setattr(fleet, "UNHEARD_S", 0.2)


@pytest.mark.usefixtures("impatient")
def test_a_hiccup_that_lasts_is_no_refusal(aws, request_for, cloud):
    cloud.refuse("CreateFleet", "Unavailable", "down", 503)
    with pytest.raises(fleet.Unanswered) as caught:
        fleet.launch(aws, request_for())
    assert "gpurun resume r1" in caught.value.hint
    assert len(cloud.asked("CreateFleet")) == 3
    assert len({call["ClientToken"] for call in cloud.asked("CreateFleet")}) == 1


@pytest.mark.usefixtures("impatient")
def test_a_machine_whose_birth_was_never_heard_of_is_found_by_its_tag(aws, request_for, cloud):
    asked = request_for()
    made = fleet.launch(aws, asked)
    cloud.refuse("CreateFleet", "Unavailable", "down", 503)
    assert fleet.launch(aws, asked).instance_id == made.instance_id


@pytest.mark.usefixtures("impatient")
def test_a_template_that_is_not_known_for_long_is_told(aws, request_for, cloud):
    cloud.refuse("CreateFleet", "InvalidLaunchTemplateName.NotFoundException", "no such template")
    (refusal,) = fleet.launch(aws, request_for())
    assert refusal.kind is Kind.BROKEN
    assert len(cloud.asked("CreateFleet")) == 3


def test_the_same_template_is_made_once(aws, request_for):
    asked = request_for()
    fleet.launch(aws, asked)
    fleet.launch(aws, asked)
    assert len(aws.ec2.describe_launch_templates()["LaunchTemplates"]) == 1


def test_another_user_data_is_another_template_and_both_go(aws, request_for):
    asked = request_for()
    fleet.launch(aws, asked)
    fleet.launch(aws, replace(asked, user_data="#!/bin/sh\necho again\n"))
    assert len(aws.ec2.describe_launch_templates()["LaunchTemplates"]) == 2
    fleet.delete_template(aws, run_id="r1")
    fleet.delete_template(aws, run_id="r1")
    assert aws.ec2.describe_launch_templates()["LaunchTemplates"] == []


def test_user_data_over_the_limit(aws, request_for, cloud):
    with pytest.raises(BrokenRequest) as caught:
        fleet.launch(aws, request_for(user_data="x" * 16385))
    assert "16384" in caught.value.message
    assert not cloud.asked("CreateFleet")


CODES = st.sampled_from(
    ["InsufficientInstanceCapacity", "VcpuLimitExceeded", "SpotMaxPriceTooLow", "UnauthorizedOperation", "Novel"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(codes=st.lists(CODES, min_size=1, max_size=8))
def test_no_refusal_is_lost_and_the_gravest_decides(aws, request_for, cloud, codes):
    cloud.empty_fleet(*((f"g{n}.xlarge", "s", code, f"m{n}") for n, code in enumerate(codes)))
    refused = fleet.launch(aws, request_for())
    assert [each.code for each in refused] == codes
    error = verdict.error(refused)
    lines = error.message.splitlines()[1:]
    assert len(lines) == len({fault_of(code).kind for code in codes})
    assert all(any(code in line for line in lines) for code in codes)
    for code, kind in (("UnauthorizedOperation", NotPermitted), ("VcpuLimitExceeded", QuotaExceeded)):
        if code in codes:
            assert type(error) is kind
            return
    assert not isinstance(error, (NotPermitted, QuotaExceeded))
