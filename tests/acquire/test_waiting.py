"""`--wait`: launch when a machine appears, under the price cap, and not for what waiting does not cure."""

import threading
import time
from datetime import timedelta

import pytest

from launcher import acquire, plan
from launcher.acquire import ask_to_wait, asked_to_wait
from launcher.domain import Market
from launcher.errors import NoCapacity, PriceTooHigh, QuotaExceeded
from launcher.live import now
from tests.acquire.pools import offers_in

EAST = "us-east-1"
SPOT = (Market.SPOT,)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Tries follow quickly, and each plans with the run's own pools: `plans` counts them."""
    monkeypatch.setattr(acquire, "FIRST_WAIT_S", 0.2)
    monkeypatch.setattr(acquire, "WAIT_FACTOR", 1.0)


@pytest.fixture
def same_plan(monkeypatch):
    made = []

    def again(live):
        monkeypatch.setattr(plan, "make", lambda *_, **__: made.append(now()) or live.plan)
        return made

    return again


def soon(seconds=150):
    return now() + timedelta(seconds=seconds)


def test_a_machine_that_appears_is_taken_and_its_time_begins_then(cloud, run, same_plan):
    cloud.refuse("InsufficientInstanceCapacity", times=4)
    live = run(*offers_in(EAST, SPOT, zones="a"))
    made = same_plan(live)
    first_deadline = live.deadline
    began = now()
    got = acquire.acquire(live, wait_until=soon())
    assert got.instance.market is Market.SPOT
    assert len(cloud.calls("CreateFleet")) == 3
    assert len(made) == 2
    assert live.deadline > first_deadline
    assert live.deadline >= began + timedelta(hours=live.plan.hours)
    intents = live.told("fleet.intent")
    assert [each["attempt"] for each in intents] == [1, 2, 3]
    assert len({each["token"] for each in intents}) == 3
    assert all("no capacity for g4dn.xlarge, g5.xlarge" in note for note in live.reporter.notes)
    assert all("next try at" in note and "waiting until" in note for note in live.reporter.notes)
    assert len(live.reporter.notes) == 2
    assert len(cloud.machines()) == 1


def test_it_gives_up_when_the_time_is_over(cloud, run, same_plan):
    cloud.refuse("InsufficientInstanceCapacity")
    live = run(*offers_in(EAST, SPOT))
    same_plan(live)
    until = soon(2)
    with pytest.raises(NoCapacity):
        acquire.acquire(live, wait_until=until)
    assert now() >= until
    assert len(cloud.calls("CreateFleet")) >= 2
    assert cloud.left() == {}


def test_a_quota_is_not_waited_for(cloud, run, same_plan):
    cloud.admin.settings(quotas={"L-3819A6DF": 0})
    live = run(*offers_in(EAST, SPOT))
    same_plan(live)
    with pytest.raises(QuotaExceeded):
        acquire.acquire(live, wait_until=soon())
    assert len(cloud.calls("CreateFleet")) == 1


def test_a_market_closed_by_quota_is_not_asked_again_while_the_other_is_waited_for(cloud, run, same_plan):
    cloud.refuse("InsufficientInstanceCapacity", times=4, Market="spot")
    cloud.admin.settings(quotas={"L-DB2E81BA": 0})
    live = run(*offers_in(EAST, zones="a"))
    same_plan(live)
    assert acquire.acquire(live, wait_until=soon()).instance.market is Market.SPOT
    assert [each["market"] for each in live.told("fleet.intent")] == ["spot", "on-demand", "spot", "spot"]


def test_no_try_without_a_plan_under_the_price_cap(cloud, run, monkeypatch):
    cloud.refuse("InsufficientInstanceCapacity", times=2)
    live = run(*offers_in(EAST, SPOT, zones="a"))
    dear = [PriceTooHigh("none of 4 offers is at or under 0.1 USD an hour")] * 2

    def make(*_, **__):
        if dear:
            raise dear.pop()
        return live.plan

    monkeypatch.setattr(plan, "make", make)
    acquire.acquire(live, wait_until=soon())
    assert len(cloud.calls("CreateFleet")) == 2
    assert any("at or under 0.1 USD" in note for note in live.reporter.notes)


def test_ctrl_c_ends_the_waiting_at_once(cloud, run, same_plan, monkeypatch):
    import os
    import signal

    monkeypatch.setattr(acquire, "FIRST_WAIT_S", 60.0)
    cloud.refuse("InsufficientInstanceCapacity")
    live = run(*offers_in(EAST, SPOT))
    same_plan(live)
    told = live.reporter.note

    def press(message):
        told(message)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()

    monkeypatch.setattr(live.reporter, "note", press)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), live.signals.installed(), live.signals.raised():
        acquire.acquire(live, wait_until=soon(300))
    assert time.monotonic() - began < 60
    assert live.ledger.open_resources(live.run_id) == ()
    assert cloud.left() == {}


def test_the_wish_to_wait_is_kept_in_the_ledger(run):
    live = run()
    assert asked_to_wait(live) is None
    ask_to_wait(live, 3600)
    assert timedelta(minutes=59) < asked_to_wait(live) - now() <= timedelta(hours=1)
