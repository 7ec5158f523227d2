from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from launcher import cost, plan
from launcher.domain import Device, JobSpec, Limits, Market, Offer, Requirements, SpotPolicy


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


def test_preferring_spot_keeps_on_demand_behind_it_however_many_spot_pools_there_are():
    crowd = [_offer(0.2 + index / 10000) for index in range(100)]
    ranked = plan.rank([*crowd, _offer(0.526, Market.ON_DEMAND)], SpotPolicy.PREFER_SPOT)
    assert len(ranked) == plan.MAX_POOLS + 1
    assert ranked[-1].market is Market.ON_DEMAND


def test_no_pool_at_over_twice_the_cheapest_price_unless_there_are_few():
    many = [_offer(0.2 + index / 100) for index in range(60)]
    assert max(offer.price_usd_per_hour for offer in plan.rank(many, SpotPolicy.SPOT)) <= 0.4
    assert len(plan.rank([_offer(0.1), _offer(9.0)], SpotPolicy.SPOT)) == 2


@given(
    st.lists(st.builds(_offer, st.floats(0.01, 10)), min_size=1, max_size=40), st.floats(0.01, 50), st.floats(0.2, 48)
)
def test_whatever_pool_ec2_chooses_the_budget_holds(offers: list[Offer], budget_usd: float, max_hours: float):
    limits = Limits(max_hours=max_hours, max_cost_usd=budget_usd)
    kept = plan.within_budget(offers, limits, 50)
    assert kept
    rates = [cost.estimate(offer.price_usd_per_hour, 50, offer.region).total_usd_per_hour for offer in kept]
    hours = min(max_hours, budget_usd / max(rates))
    assert all(rate * hours <= budget_usd * 1.000001 for rate in rates)
    cheapest = cost.estimate(min(o.price_usd_per_hour for o in offers), 50, "us-east-1").total_usd_per_hour
    assert hours >= min(max_hours, budget_usd / cheapest / plan.BUDGET_SPREAD) * 0.999999


def test_a_gpu_job_that_asks_for_nothing_gets_one_gpu_and_a_cpu_job_a_small_machine():
    gpu = JobSpec(name="a", argv=("x",), workdir=Path(), device=Device.GPU)
    cpu = JobSpec(name="a", argv=("x",), workdir=Path(), device=Device.CPU)
    assert plan.needed(gpu).gpu_count == 1
    assert (plan.needed(cpu).vcpus, plan.needed(cpu).gpu_count) == (plan.MIN_CPU_VCPUS, 0)
    more = JobSpec(name="a", argv=("x",), workdir=Path(), device=Device.CPU, resources=Requirements(vcpus=8))
    assert (plan.needed(more).vcpus, plan.needed(more).memory_bytes) == (8, plan.MIN_CPU_MEMORY_BYTES)
    asked = Requirements(instance_types=("p5.48xlarge",))
    assert plan.needed(JobSpec(name="a", argv=("x",), workdir=Path(), resources=asked)) == asked
