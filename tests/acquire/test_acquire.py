"""One machine, whatever the cloud says on the way; what it refuses is told by region and cause, with the next step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.acquire import acquire, pool_of
from launcher.aws import fleet, refusals
from launcher.domain import Limits, Market
from launcher.errors import NoCapacity, NotPermitted, PriceTooHigh, ProvisionError, QuotaExceeded
from launcher.ledger import new_run_id
from launcher.search import token_of
from tests.acquire.pools import offers_in

EAST, WEST, DUBLIN = "us-east-1", "us-west-2", "eu-west-1"
SPOT, ON_DEMAND = Market.SPOT, Market.ON_DEMAND


@given(st.from_regex(r"[a-z0-9][a-z0-9-]{0,40}", fullmatch=True), st.integers(1, 99), st.integers(1, 99))
def test_tokens_fit_ec2_whatever_the_name_and_tell_calls_apart(name: str, segment: int, attempt: int):
    run_id = new_run_id(name)
    token = token_of(run_id, EAST, segment=segment, attempt=attempt)
    assert len(token) <= 64
    assert token == token_of(run_id, EAST, segment=segment, attempt=attempt)
    others = [
        token_of(run_id, WEST, segment=segment, attempt=attempt),
        token_of(run_id, EAST, segment=segment + 1, attempt=attempt),
        token_of(run_id, EAST, segment=segment, attempt=attempt + 1),
        token_of(run_id, EAST, segment=segment, attempt=attempt, market=ON_DEMAND),
    ]
    assert len({token, *others}) == 5


def test_a_machine_of_the_first_region(cloud, run):
    live = run(*offers_in(EAST), *offers_in(WEST))
    got = acquire(live)
    assert [each["action"] for each in cloud.calls()] == ["DescribeSubnets", "CreateLaunchTemplate", "CreateFleet"]
    assert got.instance.region == got.region == EAST
    assert got.instance.market is SPOT
    assert pool_of(got.offer).zone == got.instance.zone
    (machine,) = cloud.machines()
    assert {"Key": "gpurun:segment", "Value": "1"} in machine["Tags"]
    (intent,) = live.told("fleet.intent")
    assert intent["token"] == got.token
    assert (intent["segment"], intent["attempt"], intent["region"], intent["market"]) == (1, 1, EAST, "spot")


def test_three_regions_three_causes_a_line_each_and_nothing_left(cloud, run):
    cloud.refuse("InsufficientInstanceCapacity", region=EAST)
    cloud.admin.settings(quotas={"L-3819A6DF": 0, "L-DB2E81BA": 0})
    cloud.strike(region=DUBLIN, error="UnauthorizedOperation")
    live = run(*offers_in(EAST), *offers_in(WEST), *offers_in(DUBLIN))
    with pytest.raises(ProvisionError) as caught:
        acquire(live)
    lines = caught.value.message.splitlines()
    assert len(lines) == 4, lines
    east, west, dublin = (line.strip() for line in lines[1:])
    head, _, zones = east.partition(" (InsufficientInstanceCapacity)")[0].partition(" in ")
    assert head == f"{EAST}: spot, on-demand: no capacity for g4dn.xlarge, g5.xlarge"
    assert sorted(zones.split(", ")) == ["us-east-1a", "us-east-1b"]  # EC2 puts the cheapest of the moment first
    assert "InsufficientInstanceCapacity" in east
    assert "--wait" in east
    assert west.startswith(f"{WEST}: spot, on-demand: the quota does not allow")
    for code in ("L-3819A6DF", "L-DB2E81BA"):
        assert f"https://us-west-2.console.aws.amazon.com/servicequotas/home/services/ec2/quotas/{code}" in west
    assert dublin.startswith(f"{DUBLIN}: ")
    assert "ec2:CreateFleet" in dublin
    assert "iam-policy.json" in dublin
    assert isinstance(caught.value, NotPermitted)
    calls = cloud.calls()
    assert len(calls) < 15, [each["action"] for each in calls]
    assert cloud.left() == {}
    assert live.ledger.open_resources(live.run_id) == ()


def test_a_quota_of_spot_leaves_on_demand(cloud, run):
    cloud.admin.settings(quotas={"L-3819A6DF": 0})
    got = acquire(run())
    assert got.instance.market is ON_DEMAND


def test_quota_calls_are_not_repeated_for_each_pool(cloud, run):
    cloud.admin.settings(quotas={"L-3819A6DF": 0, "L-DB2E81BA": 0})
    with pytest.raises(QuotaExceeded):
        acquire(run(*offers_in(EAST, zones="abcd")))
    assert len(cloud.calls("CreateFleet")) == 2


def test_a_missing_spot_role_is_no_lack_of_capacity_and_closes_spot_everywhere(cloud, run):
    cloud.refuse("AuthFailure.ServiceLinkedRoleCreationNotPermitted", Market="spot")
    live = run(*offers_in(EAST, (SPOT,)), *offers_in(WEST))
    got = acquire(live)
    assert (got.region, got.instance.market) == (WEST, ON_DEMAND)
    assert [(each["region"], each["market"]) for each in live.told("fleet.intent")] == [
        (EAST, "spot"),
        (WEST, "on-demand"),
    ]


def test_the_role_is_named(cloud, run):
    cloud.refuse("AuthFailure.ServiceLinkedRoleCreationNotPermitted", Market="spot")
    with pytest.raises(NotPermitted) as caught:
        acquire(run(*offers_in(EAST, (SPOT,))))
    assert "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com" in caught.value.message


def test_a_permission_missing_in_two_regions_is_the_accounts_and_no_third_is_asked(cloud, run):
    cloud.strike(error="UnauthorizedOperation")
    with pytest.raises(NotPermitted):
        acquire(run(*offers_in(EAST), *offers_in(WEST), *offers_in(DUBLIN)))
    assert {each["region"] for each in cloud.calls("CreateFleet")} == {EAST, WEST}


def test_a_region_that_is_not_enabled_is_named_with_the_command(cloud, run):
    cloud.strike(action="DescribeSubnets", region=EAST, error="OptInRequired")
    live = run(*offers_in(EAST), *offers_in(WEST))
    assert acquire(live).region == WEST
    cloud.strike(action="DescribeSubnets", region=WEST, error="OptInRequired")
    with pytest.raises(NotPermitted) as caught:
        acquire(live, segment=2)
    assert "aws account enable-region --region-name us-west-2" in caught.value.message


def test_expired_credentials_end_the_search_at_once(cloud, run):
    from launcher.errors import CredentialsError

    cloud.strike(error="expired-credentials")
    with pytest.raises(CredentialsError):
        acquire(run(*offers_in(EAST), *offers_in(WEST)))
    assert len(cloud.calls("CreateFleet")) == 1


def test_nothing_under_the_price_cap(cloud, run):
    with pytest.raises(PriceTooHigh):
        acquire(run(limits=Limits(max_price_usd_per_hour=0.1)))
    assert cloud.calls("CreateFleet") == []


def test_pools_to_avoid_are_asked_last(cloud, run):
    offers = offers_in(EAST, (SPOT,))
    first, rest = offers[0], offers[1:]
    live = run(*offers)
    got = acquire(live, segment=2, avoid=frozenset({pool_of(first)}))
    assert pool_of(got.offer) != pool_of(first)
    for each in rest:
        cloud.refuse("InsufficientInstanceCapacity", AvailabilityZone=each.zone, InstanceType=each.instance_type)
    refusals.lift(live.ledger.cache, cloud.aws)
    got = acquire(live, segment=3, avoid=frozenset({pool_of(first)}))
    assert pool_of(got.offer) == pool_of(first)


def test_a_second_launch_does_not_ask_again_what_was_refused_just_now_and_says_so(cloud, run):
    cloud.refuse("InsufficientInstanceCapacity")
    with pytest.raises(NoCapacity):
        acquire(run())
    asked = len(cloud.calls("CreateFleet"))
    assert asked == 2
    cloud.admin.clear_faults()
    with pytest.raises(NoCapacity) as caught:
        acquire(run(name="second"))
    assert "not asked again" in caught.value.message
    assert cloud.calls() == []


def test_another_pool_is_asked_though_some_refused_just_now(cloud, run):
    cloud.refuse("InsufficientInstanceCapacity", AvailabilityZone="us-east-1a")
    with pytest.raises(NoCapacity):
        acquire(run(*offers_in(EAST, (SPOT,), zones="a")))
    live = run(*offers_in(EAST, (SPOT,), zones="ab"), name="second")
    assert acquire(live).instance.zone == "us-east-1b"
    (intent,) = live.told("fleet.intent")
    assert intent["pools"] == ["g4dn.xlarge us-east-1b", "g5.xlarge us-east-1b"]


def test_refusals_are_asked_again_after_three_minutes(cloud, run, monkeypatch):
    cloud.refuse("InsufficientInstanceCapacity")
    with pytest.raises(NoCapacity):
        acquire(run())
    cloud.admin.clear_faults()
    import time

    later = time.time() + refusals.KEPT_S
    monkeypatch.setattr("launcher.acquire.time.time", lambda: later)
    assert acquire(run(name="second")).instance.market is SPOT


def test_an_answered_refusal_is_asked_again_under_another_token(cloud, run):
    cloud.refuse("InsufficientInstanceCapacity")
    live = run(*offers_in(EAST, (SPOT,)))
    with pytest.raises(NoCapacity):
        acquire(live)
    cloud.admin.clear_faults()
    refusals.lift(live.ledger.cache, cloud.aws)
    acquire(live)
    first, second = live.told("fleet.intent")
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert first["token"] != second["token"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_reply_is_asked_again_under_the_same_token_and_makes_one_machine(cloud, run, when):
    cloud.strike(drop=when, times=1)
    live = run()
    acquire(live)
    tokens = {each["params"]["ClientToken"] for each in cloud.calls("CreateFleet")}
    assert tokens == {live.told("fleet.intent")[0]["token"]}
    assert len(cloud.machines()) == 1


def test_a_call_that_nobody_answered_is_repeated_as_it_was_by_the_next_launcher(cloud, run, monkeypatch):
    monkeypatch.setattr(fleet, "ATTEMPTS", 1)
    monkeypatch.setattr(fleet, "UNHEARD_S", 0.1)
    cloud.strike(drop="before")
    live = run(*offers_in(EAST), *offers_in(WEST))
    with pytest.raises(fleet.Unanswered):
        acquire(live)
    assert [each["region"] for each in live.told("fleet.intent")] == [EAST]
    cloud.admin.clear_faults()
    acquire(live)
    first, second = live.told("fleet.intent")
    assert first == second
    sent = [each["params"] for each in cloud.calls("CreateFleet")]
    assert sent[0] == sent[-1]


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "Unavailable", "InternalError"])
def test_throttling_is_no_refusal(cloud, run, code):
    cloud.strike(error=code, status=503, times=3)
    live = run()
    acquire(live)
    assert live.told("fleet.refused") == []
    assert len({each["params"]["ClientToken"] for each in cloud.calls("CreateFleet")}) == 1


def test_a_template_that_is_not_known_everywhere_yet(cloud, run):
    cloud.strike(error="InvalidLaunchTemplateName.NotFoundException", times=2)
    live = run()
    assert acquire(live).region == EAST
    assert live.told("fleet.refused") == []


def test_a_token_that_was_used_for_something_else_finds_its_machine(cloud, run, monkeypatch):
    monkeypatch.setattr(fleet, "UNHEARD_S", 0.2)
    cloud.strike(error="IdempotentParameterMismatch", times=1)
    live = run()
    acquire(live)
    first, second = live.told("fleet.intent")
    assert first["token"] != second["token"]
    cloud.strike(error="IdempotentParameterMismatch", times=1)
    (machine,) = cloud.machines()
    again = acquire(live)
    assert again.instance.instance_id == machine["InstanceId"]
    assert len(cloud.machines()) == 1


def test_the_machine_of_another_segment_is_not_taken_for_ours(cloud, run, monkeypatch):
    monkeypatch.setattr(fleet, "UNHEARD_S", 0.2)
    live = run()
    first = acquire(live)
    cloud.strike(error="IdempotentParameterMismatch", times=1)
    second = acquire(live, segment=2)
    assert first.instance.instance_id != second.instance.instance_id
    assert len(cloud.machines()) == 2
