"""The expected cost of a run: what it must follow, whatever the figures are."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from launcher.domain import Assumptions, Market, Measured, Offer, SpotPolicy
from launcher.plan import expected, rank


def figure(value):
    return Measured(value=value, source="assumed")


def offer(price=0.2, market=Market.SPOT, zone="us-east-1a"):
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


def resting_on(hours=4.0, boot_s=90.0, upload_bytes=0, interval_s=600.0, rate=2.5e6):
    return Assumptions(
        work_hours=hours,
        boot_s=figure(boot_s),
        upload_bytes=upload_bytes,
        upload_bytes_per_s=figure(rate),
        checkpoint_interval_s=figure(interval_s),
    )


def usd(asked, assumptions, volatility=0.05, score=None):
    return expected.priced(asked, assumptions, 50, volatility, score).expected.total_usd


MARKETS = (Market.SPOT, Market.ON_DEMAND)
"""Of the cloud: one's own machine has no price."""
PRICES = st.floats(0.001, 100)
VOLATILITIES = st.floats(0, 2)
ASSUMPTIONS = st.builds(
    resting_on,
    st.floats(0.1, 700),
    st.floats(1, 900),
    st.integers(0, 10**12),
    st.floats(1, 36000),
    st.floats(1e3, 1e9),
)


@given(PRICES, PRICES, ASSUMPTIONS, VOLATILITIES)
def test_a_dearer_pool_costs_more(one, other, assumptions, volatility):
    assume(one < other * 0.999)
    assert usd(offer(one), assumptions, volatility) < usd(offer(other), assumptions, volatility)


@given(PRICES, ASSUMPTIONS, VOLATILITIES, VOLATILITIES)
def test_a_restless_price_never_makes_a_spot_run_cheaper(price, assumptions, one, other):
    calm, wild = sorted((one, other))
    assert usd(offer(price), assumptions, calm) <= usd(offer(price), assumptions, wild)


@given(PRICES, ASSUMPTIONS, st.integers(1, 10), st.integers(1, 10))
def test_a_better_placement_score_never_makes_it_dearer(price, assumptions, one, other):
    worse, better = sorted((one, other))
    assert usd(offer(price), assumptions, score=better) <= usd(offer(price), assumptions, score=worse)


@given(PRICES, ASSUMPTIONS, st.sampled_from(["boot_s", "upload_bytes", "interval_s", "work_hours"]), st.floats(1, 10))
def test_more_to_do_or_to_do_again_never_makes_it_cheaper(price, assumptions, what, times):
    more = {
        "boot_s": {"boot_s": figure(assumptions.boot_s.value * times)},
        "upload_bytes": {"upload_bytes": math.ceil((assumptions.upload_bytes or 0) * times)},
        "interval_s": {"checkpoint_interval_s": figure(assumptions.checkpoint_interval_s.value * times)},
        "work_hours": {"work_hours": assumptions.work_hours * times},
    }[what]
    before, after = usd(offer(price), assumptions), usd(offer(price), replace(assumptions, **more))
    assert after >= before * (1 - 1e-12)


@given(PRICES, ASSUMPTIONS, VOLATILITIES, st.none() | st.integers(1, 10), st.sampled_from(MARKETS))
def test_every_component_is_told_and_they_add_up(price, assumptions, volatility, score, market):
    told = expected.priced(offer(price, market), assumptions, 50, volatility, score).expected
    assert told.total_usd == pytest.approx(told.work_usd + told.setup_usd + told.interruptions_usd)
    rate = told.hourly.total_usd_per_hour
    assert rate > price
    assert told.work_usd == pytest.approx(rate * assumptions.work_hours)
    assert told.setup_usd == pytest.approx(rate * assumptions.setup_s / 3600)
    assert told.interruptions_usd == pytest.approx(rate * told.interruptions * assumptions.restart_s / 3600)
    assert (told.interruptions == 0) == (market is Market.ON_DEMAND)


def test_the_points_that_the_line_goes_through():
    month = expected.HOURS_PER_MONTH
    assert expected.interruptions_per_hour(0, 10) * month == pytest.approx(0.05)
    assert expected.interruptions_per_hour(0.05, 10) * month == pytest.approx(0.30)
    assert expected.interruptions_per_hour(0, 1) * month == pytest.approx(0.20)
    assert expected.interruptions_per_hour(None, None) == expected.interruptions_per_hour(0.05, 10)


def test_an_interruption_costs_boot_upload_and_half_an_interval():
    assumptions = resting_on(boot_s=60, upload_bytes=100_000_000, rate=1e6, interval_s=600)
    assert (assumptions.upload_s, assumptions.setup_s, assumptions.restart_s) == (100, 160, 460)


def test_over_a_long_run_a_calm_pool_is_tried_before_a_slightly_cheaper_wild_one():
    assumptions = resting_on(hours=200, upload_bytes=20_000_000_000, interval_s=7200)
    wild = expected.priced(offer(0.200, zone="us-east-1a"), assumptions, 50, 1.0, 3)
    calm = expected.priced(offer(0.204, zone="us-east-1b"), assumptions, 50, 0.0, 3)
    assert [each.zone for each in rank([wild, calm], SpotPolicy.SPOT)] == ["us-east-1b", "us-east-1a"]


@given(st.lists(st.tuples(PRICES, VOLATILITIES, st.sampled_from(MARKETS)), max_size=40), ASSUMPTIONS)
def test_ranking_is_by_expected_cost_within_a_market(pools, assumptions):
    priced = [expected.priced(offer(price, market), assumptions, 50, moves, None) for price, moves, market in pools]
    ranked = rank(priced, SpotPolicy.PREFER_SPOT)
    for market in MARKETS:
        costs = [each.expected.total_usd for each in ranked if each.market is market]
        assert costs == sorted(costs)


def test_another_disk_changes_the_rate_and_nothing_else():
    assumptions = resting_on()
    small = expected.priced(offer(), assumptions, 50, 0.1, 4)
    large = expected.repriced(small, assumptions, 500)
    assert large.expected.hourly.disk_usd_per_hour == pytest.approx(10 * small.expected.hourly.disk_usd_per_hour)
    assert large.expected.interruptions == small.expected.interruptions
