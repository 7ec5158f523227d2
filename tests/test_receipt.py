"""The receipt of a run over several machines: every figure from the ledger, in JSON and for people."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from launcher import cost, creation, render
from launcher.aws.client import Aws
from launcher.domain import Account, Image, JobSpec, Market, Offer, Plan, Receipt, Requirements, RunStatus, Segment
from launcher.ledger import Ledger, receipt_from_text, receipt_to_text
from launcher.live import LiveRun
from launcher.paths import StatePaths
from launcher.receipt import receipt

OFFER = Offer(
    instance_type="g4dn.xlarge",
    region="us-east-1",
    zone="us-east-1a",
    market=Market.SPOT,
    price_usd_per_hour=0.2,
    on_demand_usd_per_hour=0.526,
    vcpus=4,
    memory_bytes=16 << 30,
    architecture="x86_64",
    gpu=None,
    priced_at=datetime(2026, 11, 20, tzinfo=UTC),
    source="live",
)
IMAGE = Image(
    image_id="ami-1", name="", region="us-east-1", architecture="x86_64", root_device="/dev/sda1", root_size_gib=75
)
BEGIN = datetime.now(UTC) - timedelta(hours=5)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveRun]:
    """A run that was written down and never launched."""
    state = StatePaths(tmp_path / "state")
    job = JobSpec(
        name="digits", argv=("x",), workdir=tmp_path, outputs=tmp_path / "runs", resources=Requirements(disk_gib=50)
    )
    plan = Plan(
        offers=(OFFER,),
        image=IMAGE,
        cost=cost.estimate(0.2, 75, "us-east-1"),
        dearest=cost.estimate(0.4, 75, "us-east-1"),
        hours=4,
    )
    with Ledger.open(state.ledger) as ledger, closing(render.reporter(as_json=True)) as reporter:
        yield creation.create(
            job,
            plan,
            Account(region="us-east-1"),
            Aws(Account(region="us-east-1"), "us-east-1"),
            ledger=ledger,
            state=state,
            reporter=reporter,
            planning_began=BEGIN,
        )


def note(live: LiveRun, number: int, began_s: float, lasted_s: float | None, price: float = 0.2, **given) -> None:
    began_at = BEGIN + timedelta(seconds=began_s)
    values = {
        "number": number,
        "instance_id": f"i-{number}",
        "instance_type": "g4dn.xlarge",
        "region": "us-east-1",
        "zone": f"us-east-1{'xabc'[number]}",
        "market": "spot",
        "price_usd_per_hour": price,
        "began_at": began_at,
        "ended_at": None if lasted_s is None else began_at + timedelta(seconds=lasted_s),
    }
    live.ledger.begin_segment(live.run_id, Segment(**{**values, **given}))
    live.update(segment=number, instance_type="g4dn.xlarge", zone=values["zone"], market="spot")
    live.update(price_usd_per_hour=price)


def end(live: LiveRun) -> Receipt:
    for status in (RunStatus.PROVISIONING, RunStatus.TERMINATING, RunStatus.SUCCEEDED):
        live.advance(status)
    return receipt(live)


def test_every_machine_is_on_it_with_its_price_and_the_parts_add_up(live):
    note(live, 1, 0, 1800, ended_by="taken back by EC2")
    note(live, 2, 1700, 3600, price=0.3)
    found = end(live)
    assert [(each.number, each.price_usd_per_hour, each.billed_s) for each in found.segments] == [
        (1, 0.2, 1800),
        (2, 0.3, 3600),
    ]
    hourly = cost.estimate(0, 75, "us-east-1")
    assert found.billed_s == 5400
    assert found.instance_usd == pytest.approx(0.1 + 0.3)
    assert found.disk_usd == pytest.approx(1.5 * hourly.disk_usd_per_hour)
    assert found.address_usd == pytest.approx(1.5 * 0.005)
    assert found.cost_usd == pytest.approx(found.instance_usd + found.disk_usd + found.address_usd)
    assert found.cost_usd == pytest.approx(sum(each.cost_usd for each in found.segments))
    assert found.estimate_usd == pytest.approx(1.5 * live.plan.cost.total_usd_per_hour)
    assert found.most_usd == pytest.approx(live.plan.max_cost_usd)
    assert receipt_from_text(receipt_to_text(found)) == found
    assert json.loads(receipt_to_text(found))["segments"][0]["ended_by"] == "taken back by EC2"


def test_of_a_run_that_goes_on_it_tells_the_costs_so_far_and_never_more_than_to_the_end_of_one_that_is_over(live):
    note(live, 1, 0, None)
    going = receipt(live)
    assert 5 * 3600 <= going.billed_s <= (datetime.now(UTC) - BEGIN).total_seconds() + 1
    assert going.segments[0].ended_at is None
    over = end(live)
    live.refresh()
    assert over.segments[0].ended_at == live.record.ended_at
    assert receipt(live).cost_usd == over.cost_usd


def test_of_one_machine_people_get_a_few_lines(live):
    note(live, 1, 0, 1800)
    text = render.receipt_text(end(live))
    assert "machine   g4dn.xlarge spot in us-east-1a: terminated" in text
    (line,) = [line for line in text.splitlines() if line.startswith("cost")]
    assert line.startswith("cost      0.1067 USD for 1800 s at 0.2000 USD an hour, disk 0.0042 and address 0.0025")
    assert line.endswith("; planned 0.1067, at most 1.65")
    assert "wasted" not in text


def test_of_several_they_get_a_table_and_what_was_wasted(live):
    note(live, 1, 0, 1800, ended_by="taken back by EC2")
    note(live, 2, 1700, 3600)
    live.event("successor", segment=2, phase="boot", seconds=12.5)
    lines = render.receipt_text(end(live)).splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("machines"))
    assert lines[at].split() == ["machines", "#", "type", "market", "zone", "USD/h", "seconds", "USD", "ended", "by"]
    assert lines[at + 1].split()[:3] == ["1", "g4dn.xlarge", "spot"]
    assert lines[at + 1].endswith("taken back by EC2")
    assert lines[at + 2].endswith("the run")
    assert any(" for 5400 s of 2 machines, disk " in line for line in lines)
    assert lines[-1] == "wasted    boot 12.5  = 12.5"


def test_a_receipt_of_an_older_version_and_one_without_a_machine_can_be_shown(live):
    found = end(live)
    assert "machine   none was made" in render.receipt_text(found)
    old = replace(found, estimate_usd=None, most_usd=None, cost_usd=0.0004, billed_s=60, instance_type="t3a.medium")
    assert "0.0004 USD for 60 s at 0.0000 USD an hour, disk and address included\n" in render.receipt_text(old)
