"""Whatever happens to a run's machines, its bill stays under the cap."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from launcher import budget, cost
from launcher.domain import Limits, Segment
from launcher.errors import BudgetExceeded

BEGIN = datetime(2026, 11, 20, 12, tzinfo=UTC)
DISK_GIB = 60


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def segment(number: int = 1, price: float = 0.5, began_s: float = 0, ended_s: float | None = None, **given) -> Segment:
    values = {
        "number": number,
        "instance_id": f"i-{number}",
        "instance_type": "g4dn.xlarge",
        "region": "us-east-1",
        "zone": "us-east-1a",
        "market": "spot",
        "price_usd_per_hour": price,
        "began_at": BEGIN + seconds(began_s),
        "ended_at": None if ended_s is None else BEGIN + seconds(ended_s),
    }
    return Segment(**{**values, **given})


def test_segments_are_billed_by_the_second_each_with_a_minute_at_least_disk_and_address_included():
    hourly = cost.estimate(0.5, DISK_GIB, "us-east-1").total_usd_per_hour
    short, long = segment(1, ended_s=3), segment(2, began_s=10, ended_s=3610)
    assert budget.spent_usd([short], DISK_GIB, BEGIN) == pytest.approx(hourly / 60)
    assert budget.spent_usd([short, long], DISK_GIB, BEGIN) == pytest.approx(hourly / 60 + hourly)
    assert hourly > 0.5 + 0.005


def test_machines_that_are_there_are_billed_up_to_now_even_at_the_same_time():
    hourly = cost.estimate(0.5, DISK_GIB, "us-east-1").total_usd_per_hour
    both = [segment(1), segment(2, began_s=1800)]
    assert budget.spent_usd(both, DISK_GIB, BEGIN + seconds(3600)) == pytest.approx(1.5 * hourly)
    # A clock that was set back makes no machine free.
    assert budget.spent_usd([segment(1)], DISK_GIB, BEGIN - seconds(50)) == pytest.approx(hourly / 60)


def test_without_a_budget_the_deadline_is_the_present_one_or_max_hours():
    hourly = cost.estimate(0.5, DISK_GIB, "us-east-1")
    limits, later = Limits(max_hours=4), BEGIN + seconds(3600)
    assert budget.deadline(limits, BEGIN, [], hourly, DISK_GIB, BEGIN) == BEGIN + timedelta(hours=4)
    assert budget.deadline(limits, BEGIN, [segment()], hourly, DISK_GIB, later, BEGIN + seconds(5000)) == (
        BEGIN + seconds(5000)
    )
    assert budget.hours(limits, hourly) == 4


def test_the_budget_buys_what_the_machines_before_have_left_of_it():
    hourly = cost.estimate(1.0, DISK_GIB, "us-east-1")
    rate = hourly.total_usd_per_hour
    limits = Limits(max_hours=10, max_cost_usd=3 * rate)
    assert budget.hours(limits, hourly) == pytest.approx(3 - (budget.END_MARGIN_S + budget.ROUNDING_S) / 3600)
    now = BEGIN + timedelta(hours=1)
    gone = segment(1, price=1.0, ended_s=3600)
    after = budget.deadline(limits, BEGIN, [gone], hourly, DISK_GIB, now, BEGIN + timedelta(hours=10))
    assert (after - now).total_seconds() == pytest.approx(7200 - budget.END_MARGIN_S - budget.ROUNDING_S)
    # One that is still there costs until it is gone.
    there = replace(gone, ended_at=None)
    sooner = budget.deadline(limits, BEGIN, [there], hourly, DISK_GIB, now, BEGIN + timedelta(hours=10))
    assert (after - sooner).total_seconds() == pytest.approx(budget.LEAVING_S)


def test_too_small_a_budget_is_told_with_the_figures_and_what_would_do():
    hourly = cost.estimate(30.0, DISK_GIB, "us-east-1")
    with pytest.raises(BudgetExceeded, match=r"budget of 0\.05 USD buys 0 s at 30\.\d+ USD an hour") as told:
        budget.hours(Limits(max_cost_usd=0.05), hourly)
    enough = float(told.value.hint.split("--max-cost ")[1].split()[0])
    assert budget.hours(Limits(max_cost_usd=enough), hourly) * 3600 >= budget.MIN_USEFUL_S
    with pytest.raises(BudgetExceeded):
        budget.hours(Limits(max_cost_usd=enough - 0.01), hourly)
    with pytest.raises(BudgetExceeded, match=r"of which 1\.\d+ USD went into the machines so far"):
        budget.deadline(Limits(max_cost_usd=1.1), BEGIN, [segment(price=1.0)], hourly, 0, BEGIN + seconds(3600))


def test_with_a_budget_spot_prices_may_not_rise_over_what_was_planned():
    dearest = cost.estimate(0.3, DISK_GIB, "us-east-1")
    assert budget.max_price_usd_per_hour(Limits(), dearest) is None
    assert budget.max_price_usd_per_hour(Limits(max_price_usd_per_hour=0.6), dearest) == 0.6
    assert budget.max_price_usd_per_hour(Limits(max_cost_usd=2), dearest) == 0.3
    assert budget.max_price_usd_per_hour(Limits(max_cost_usd=2, max_price_usd_per_hour=0.2), dearest) == 0.2


def test_a_deadline_that_is_here_is_told():
    hourly = cost.estimate(0.5, DISK_GIB, "us-east-1")
    with pytest.raises(BudgetExceeded, match="59 s are left until the run's deadline"):
        budget.deadline(Limits(), BEGIN, [], hourly, DISK_GIB, BEGIN, BEGIN + seconds(59))
    with pytest.raises(BudgetExceeded, match="0 s are left"):
        budget.deadline(Limits(), BEGIN, [], hourly, DISK_GIB, BEGIN, BEGIN - seconds(5))


def up_to(most: float) -> st.SearchStrategy[float]:
    """Often the most itself: it is the worst case that has to hold."""
    return st.just(most) | st.floats(0, most)


STEPS = st.fixed_dictionaries(
    {
        "price": st.floats(0.1, 40),
        "region": st.sampled_from(("us-east-1", "eu-west-1")),
        "share_of_price": up_to(1),
        "given_up": up_to(1),
        "wait_s": st.just(0) | st.floats(0, 900),
        "leaves_s": up_to(budget.LEAVING_S),
        "late_s": up_to(budget.END_MARGIN_S),
    }
)
"""One machine: its price; when it is there, is given up, and is gone: after its successor was asked for, or at last."""


def as_seen(made: list[Segment], now: datetime) -> list[Segment]:
    return [replace(each, ended_at=None) if each.ended_at and each.ended_at > now else each for each in made]


@given(st.lists(STEPS, min_size=1, max_size=7), st.floats(0.1, 20), st.floats(0.05, 48))
def test_no_schedule_of_machines_that_obeys_the_deadlines_costs_more_than_the_cap(steps, cap_usd, max_hours):
    limits = Limits(max_hours=max_hours, max_cost_usd=cap_usd)
    made: list[Segment] = []
    now, deadline = BEGIN, None
    for number, step in enumerate(steps, 1):
        hourly = cost.estimate(step["price"], DISK_GIB, step["region"])
        try:
            later = budget.deadline(limits, BEGIN, as_seen(made, now), hourly, DISK_GIB, now, deadline)
        except BudgetExceeded:
            break
        assert deadline is None or later <= deadline
        assert later <= BEGIN + timedelta(hours=max_hours)
        deadline = later
        # The machine before goes while its successor is made; each may be the last.
        if made:
            made[-1] = replace(made[-1], ended_at=max(now + seconds(step["leaves_s"]), made[-1].began_at))
        began = now + seconds(step["wait_s"])
        price = step["price"] * step["share_of_price"]
        made.append(segment(number, price, region=step["region"], began_at=began))
        last_end = max(deadline, began) + seconds(step["late_s"])
        assert budget.spent_usd([*made[:-1], replace(made[-1], ended_at=last_end)], DISK_GIB, now) <= cap_usd
        now = began + step["given_up"] * max(deadline - began, timedelta())
    assume(made)


@given(st.floats(0.01, 40), st.floats(0.01, 200), st.floats(0.02, 48))
def test_at_launch_the_whole_budget_but_the_margin_is_used(price, cap_usd, max_hours):
    hourly = cost.estimate(price, DISK_GIB, "eu-west-1")
    limits = Limits(max_hours=max_hours, max_cost_usd=cap_usd)
    try:
        hours = budget.hours(limits, hourly)
    except BudgetExceeded:
        least_s = budget.MIN_USEFUL_S + budget.END_MARGIN_S + budget.ROUNDING_S
        assert hourly.total_usd_per_hour * least_s / 3600 >= cap_usd * 0.999999
        return
    end = (budget.deadline(limits, BEGIN, [], hourly, DISK_GIB, BEGIN) - BEGIN).total_seconds()
    assert end == pytest.approx(hours * 3600, abs=1e-3)
    margin_usd = hourly.total_usd_per_hour * (budget.END_MARGIN_S + budget.ROUNDING_S) / 3600
    assert hours == pytest.approx(min(max_hours, (cap_usd - margin_usd) / hourly.total_usd_per_hour))
