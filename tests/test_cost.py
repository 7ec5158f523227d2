"""What a machine costs, and what a budget buys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher import cost

prices = st.floats(0.001, 100)


def test_the_parts_follow_the_published_prices():
    parts = cost.estimate(0.526, 100, "us-east-1")
    assert parts.instance_usd_per_hour == 0.526
    # The example of aws.amazon.com/ebs/pricing: USD 0.08 x 2000 GB x 43200 s / (86400 s x 30 days) = USD 2.67.
    assert cost.estimate(0, 2000, "us-east-1").disk_usd_per_hour * 12 == pytest.approx(2.6667, abs=1e-4)
    assert parts.disk_usd_per_hour == pytest.approx(0.0111, abs=1e-4)
    assert parts.address_usd_per_hour == 0.005
    assert parts.total_usd_per_hour == pytest.approx(0.526 + 0.0111 + 0.005, abs=1e-4)


def test_elsewhere_the_disk_is_never_guessed_too_cheap():
    assert cost.estimate(1, 50, "sa-east-1").disk_usd_per_hour > cost.estimate(1, 50, "us-east-1").disk_usd_per_hour


@pytest.mark.parametrize(
    ("lived_s", "billed_s"), [(0, 0), (-5, 0), (0.2, 60), (59.9, 60), (60, 60), (60.1, 61), (3600, 3600)]
)
def test_billing_is_by_the_second_from_the_first_minute(lived_s, billed_s):
    assert cost.billed_seconds(lived_s) == billed_s


def test_a_machine_of_a_minute_costs_a_minute():
    parts = cost.estimate(6.0, 0, "us-east-1")
    assert cost.actual(parts, 3) == pytest.approx(6.005 / 60)
    assert cost.actual(parts, 0) == 0


def test_without_a_budget_there_is_no_end():
    assert cost.hours_for(None, cost.estimate(1, 50, "us-east-1")) is None


def test_a_budget_below_the_first_minute_buys_nothing():
    assert cost.hours_for(0.05, cost.estimate(6.0, 50, "us-east-1")) == 0


@given(prices, st.integers(1, 1000), st.floats(0.01, 1000))
def test_what_a_budget_buys_never_costs_more_than_the_budget(price, disk_gib, budget):
    parts = cost.estimate(price, disk_gib, "us-east-1")
    hours = cost.hours_for(budget, parts)
    second = parts.total_usd_per_hour / 3600
    assert hours == 0 or cost.actual(parts, hours * 3600) <= budget + second * 1.001
