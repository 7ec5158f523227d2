"""Whole plans, against a cloud that answers, answers badly, or not at all."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from launcher import plan
from launcher.aws import prices
from launcher.aws.client import Aws
from launcher.domain import Account, Device, JobSpec, Limits, Market, Measured, Requirements, SpotPolicy
from launcher.errors import (
    BudgetExceeded,
    CredentialsError,
    NoCapacity,
    PriceTooHigh,
    ProvisionError,
    SpecError,
)

SNAPSHOT = "2026-08-17"


@pytest.fixture
def spec(tmp_path, image_id) -> JobSpec:
    asked = Requirements(instance_types=("g4dn.xlarge", "g5.xlarge", "g6.xlarge"), image=image_id)
    return JobSpec(name="faces", argv=("true",), workdir=tmp_path, device=Device.GPU, resources=asked)


@pytest.fixture
def offline(tmp_path) -> Aws:
    """Credentials and a region, and an endpoint where nobody listens."""
    config, credentials = tmp_path / "config", tmp_path / "credentials"
    config.write_text("[default]\nendpoint_url = http://127.0.0.1:9\nregion = us-east-1\n")
    credentials.write_text("[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = secret\n")
    return Aws(Account(config_file=config, credentials_file=credentials))


def changed(spec, limits=None, **resources):
    return replace(spec, resources=replace(spec.resources, **resources), limits=limits or spec.limits)


def test_the_best_offer_is_priced_with_every_component(aws, kept, cloud, spec):
    (spec.workdir / "data.bin").write_bytes(bytes(1_000_000))
    made = plan.make(spec, aws, kept)
    assert made.assumptions.upload_bytes == 1_000_000
    assert made.assumptions.work_hours == spec.limits.max_hours
    best = made.offers[0]
    assert best.expected.hourly == made.cost
    assert best.expected.interruptions > 0
    assert best.expected.daily_volatility is not None
    costs = [offer.expected.total_usd for offer in made.offers if offer.market is best.market]
    assert costs == sorted(costs)


def test_a_plan_asks_few_questions_and_a_second_one_none(aws, kept, cloud, spec):
    plan.make(spec, aws, kept)
    assert len(cloud.calls) <= 8
    cloud.calls.clear(), cloud.parameters.clear()
    plan.make(spec, aws, kept)
    assert cloud.calls == []


def test_pools_to_avoid_are_avoided_in_their_market_alone(aws, kept, spec):
    first = plan.make(spec, aws, kept).offers[0]
    again = plan.make(spec, aws, kept, avoid=frozenset({(first.instance_type, first.zone, first.market)}))
    keys = {(offer.instance_type, offer.zone, offer.market) for offer in again.offers}
    assert (first.instance_type, first.zone, first.market) not in keys
    assert (first.instance_type, first.zone, Market.ON_DEMAND) in keys


def test_where_all_pools_are_to_be_avoided_that_is_told(aws, kept, spec):
    everything = plan.survey(spec, aws, kept, known=plan.Experience()).offers
    avoid = frozenset((offer.instance_type, offer.zone, offer.market.value) for offer in everything)
    with pytest.raises(NoCapacity, match="refused in the last minutes"):
        plan.make(spec, aws, kept, avoid=avoid)


def test_what_earlier_runs_tell_is_in_the_price(aws, kept, spec):
    slow = plan.Experience(boot_s=Measured(value=3600, source="run a"))
    quick = plan.Experience(boot_s=Measured(value=1, source="run b"))
    dear, cheap = (plan.make(spec, aws, kept, known=known) for known in (slow, quick))
    assert dear.offers[0].expected.setup_usd == pytest.approx(3600 * cheap.offers[0].expected.setup_usd)


def test_work_that_cannot_be_looked_at_is_told_later_and_does_not_break_the_plan(aws, kept, spec):
    made = plan.make(replace(spec, workdir=Path("/nonexistent/folder")), aws, kept)
    assert made.assumptions.upload_bytes is None
    assert made.assumptions.setup_s == made.assumptions.boot_s.value


@pytest.mark.parametrize(("size", "rate", "warned"), [(2e9, 12.5e6, True), (1e9, 12.5e6, False), (1e9, 1e6, True)])
def test_a_checkpoint_that_does_not_come_home_in_two_minutes_is_warned_of(aws, kept, spec, size, rate, warned):
    known = plan.Experience(
        checkpoint_bytes=Measured(value=size, source="run a"), home_bytes_per_s=Measured(value=rate, source="run a")
    )
    made = plan.make(spec, aws, kept, known=known)
    assert made.notice.fits is not warned
    assert any("120 s after its notice" in line and "s3://" in line for line in made.warnings) is warned


def test_an_on_demand_machine_has_no_notice(aws, kept, cloud, spec):
    known = plan.Experience(checkpoint_bytes=Measured(value=1e12, source="run a"))
    made = plan.make(changed(spec, spot=SpotPolicy.ON_DEMAND), aws, kept, known=known)
    assert made.notice is None
    assert all(offer.expected.interruptions == 0 for offer in made.offers)


@pytest.mark.parametrize(("budget", "enough"), [(0.0000001, False), (1.0, True)])
def test_a_budget_that_buys_no_minute_is_refused_before_anything_is_made(aws, kept, cloud, spec, budget, enough):
    asked = changed(spec, Limits(max_hours=4, max_cost_usd=budget), spot=SpotPolicy.ON_DEMAND)
    if enough:
        assert plan.make(asked, aws, kept).max_cost_usd <= 1.000001
    else:
        with pytest.raises(BudgetExceeded) as caught:
            plan.make(asked, aws, kept)
        assert caught.value.hint
    assert all(call.startswith(("Describe", "Get")) for call in cloud.calls)


def test_a_price_cap_under_every_pool(aws, kept, spec):
    asked = changed(spec, Limits(max_price_usd_per_hour=0.0000001), spot=SpotPolicy.ON_DEMAND)
    with pytest.raises(PriceTooHigh, match=r"none of \d+ offers"):
        plan.make(asked, aws, kept)


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"gpu_kind": "h100"}, "gpu kind h100"),
        ({"instance_types": ("m7i.large",), "gpu_count": 1}, "gpu count >= 1"),
        ({"instance_types": ("g4dn.xlarge",), "architecture": "arm64"}, "architecture arm64"),
        ({"instance_types": ("g4dn.nothing",)}, "does not offer g4dn.nothing"),
        ({"regions": ("us-east-1", "us-mars-1")}, "no AWS region 'us-mars-1'"),
        ({"zones": ("us-east-1z",)}, "us-east-1z"),
    ],
)
def test_wishes_that_cannot_be_granted_are_told_before_anything_is_made(aws, kept, cloud, spec, resources, said):
    with pytest.raises((NoCapacity, SpecError), match=said) as caught:
        plan.make(changed(spec, **resources), aws, kept)
    assert caught.value.hint
    assert all(call.startswith(("Describe", "Get")) for call in cloud.calls)


def test_a_newcomer_offline_gets_a_rehearsal_from_the_snapshot(offline, kept, spec):
    made = plan.make(changed(spec, image=""), offline, kept, rehearsal=True)
    assert made.snapshot_date == SNAPSHOT
    assert {offer.source for offer in made.offers} == {"snapshot"}
    assert made.offers[0].price_usd_per_hour == prices.snapshot("us-east-1").usd_per_hour["g4dn.xlarge"]
    assert f"snapshot of {SNAPSHOT}" in made.warnings[0]


def test_spot_alone_is_rehearsed_at_on_demand_prices(offline, kept, spec):
    made = plan.make(changed(spec, image="", spot=SpotPolicy.SPOT), offline, kept, rehearsal=True)
    assert {offer.market for offer in made.offers} == {Market.ON_DEMAND}


def test_a_real_launch_offline_says_that_it_cannot(offline, kept, spec):
    with pytest.raises(ProvisionError) as caught:
        plan.make(spec, offline, kept)
    assert type(caught.value) is ProvisionError
    assert f"--dry-run plans with figures of {SNAPSHOT}" in caught.value.hint


def test_offline_what_was_answered_before_counts_whatever_its_age(aws, offline, kept, spec):
    before = plan.make(spec, aws, kept)
    kept.texts = {key.replace(aws.endpoint, offline.endpoint): value for key, value in kept.texts.items()}
    kept.age(timedelta(days=60))
    made = plan.make(spec, offline, kept)
    assert made.snapshot_date == ""
    assert made.image == before.image
    assert [offer.price_usd_per_hour for offer in made.offers] == [o.price_usd_per_hour for o in before.offers]
    assert made.warnings[0] == "EC2 in us-east-1 does not answer: its figures are 60 days old"


def test_without_credentials_prices_can_be_looked_at_and_nothing_be_launched(kept, spec, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "config").write_text("[default]\nregion = us-east-1\n")
    (tmp_path / "credentials").write_text("")
    nobody = Aws(Account(config_file=tmp_path / "config", credentials_file=tmp_path / "credentials"))
    assert plan.make(changed(spec, image=""), nobody, kept, rehearsal=True).snapshot_date == SNAPSHOT
    with pytest.raises(CredentialsError):
        plan.make(spec, nobody, kept)


def test_refused_credentials_are_told_in_a_rehearsal_too(aws, kept, cloud, spec):
    cloud.refuse("DescribeInstanceTypes", "ExpiredToken", "expired", 400)
    with pytest.raises(CredentialsError):
        plan.make(spec, aws, kept, rehearsal=True)


def test_a_plan_survives_the_ledger(aws, kept, spec):
    from launcher.live import _plans, dump_plan

    made = plan.make(spec, aws, kept)
    assert _plans().validate_json(dump_plan(made)) == made
    old = json.loads(dump_plan(made))
    for name in ("assumptions", "notice", "snapshot_date"):
        del old[name]
    for offer in old["offers"]:
        del offer["expected"]
    assert _plans().validate_json(json.dumps(old)).offers[0].expected is None
