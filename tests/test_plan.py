from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher import plan
from launcher.domain import Device, JobSpec, Limits, Market, Offer, Requirements, SpotPolicy
from launcher.errors import BudgetExceeded


def _offer(price: float, market: Market = Market.SPOT, zone: str = "us-east-1a") -> Offer:
    return Offer(
        instance_type="g4dn.xlarge",
        region="us-east-1",
        zone=zone,
        market=market,
        price_usd_per_hour=price,
        on_demand_usd_per_hour=0.526,
        vcpus=4,
        memory_bytes=16 << 30,
        architecture="x86_64",
        gpu=None,
        priced_at=datetime(2026, 11, 20, tzinfo=UTC),
        source="live",
    )


OFFERS = st.lists(st.builds(_offer, st.floats(0.01, 10), st.sampled_from(Market)), max_size=80)


@given(OFFERS, st.sampled_from(SpotPolicy))
def test_ranking_keeps_to_the_policy_and_puts_the_cheapest_of_a_market_first(offers: list[Offer], policy: SpotPolicy):
    ranked = plan.rank(offers, policy)
    if policy is not SpotPolicy.PREFER_SPOT:
        assert {offer.market.value for offer in ranked} <= {policy.value}
    spots = [offer.market is Market.SPOT for offer in ranked]
    assert spots == sorted(spots, reverse=True)
    for market in Market:
        prices = [offer.price_usd_per_hour for offer in ranked if offer.market is market]
        assert prices == sorted(prices)


def test_a_gpu_job_that_asks_for_nothing_gets_one_gpu_and_a_cpu_job_a_small_machine():
    gpu = JobSpec(name="a", argv=("x",), workdir=Path(), device=Device.GPU)
    cpu = JobSpec(name="a", argv=("x",), workdir=Path(), device=Device.CPU)
    assert plan.needed(gpu).gpu_count == 1
    assert (plan.needed(cpu).vcpus, plan.needed(cpu).gpu_count) == (plan.MIN_CPU_VCPUS, 0)
    more = JobSpec(name="a", argv=("x",), workdir=Path(), device=Device.CPU, resources=Requirements(vcpus=8))
    assert (plan.needed(more).vcpus, plan.needed(more).memory_bytes) == (8, plan.MIN_CPU_MEMORY_BYTES)
    asked = Requirements(instance_types=("p5.48xlarge",))
    assert plan.needed(JobSpec(name="a", argv=("x",), workdir=Path(), resources=asked)) == asked


def test_the_budget_buys_the_hours_and_too_small_a_budget_is_told():
    assert plan.affordable_hours(Limits(max_hours=4), None) == 4
    assert plan.affordable_hours(Limits(max_hours=4, max_cost_usd=1), 2.5) == 2.5
    assert plan.affordable_hours(Limits(max_hours=4, max_cost_usd=100), 250) == 4
    with pytest.raises(BudgetExceeded, match=r"buys 0\.6 minutes"):
        plan.affordable_hours(Limits(max_hours=4, max_cost_usd=0.001), 0.01)
