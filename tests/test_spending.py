"""What runs have cost: sums that agree with the receipts, each machine under its own day and pool."""

import csv
import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher import cli, spending
from launcher.domain import NOT_NEEDED, CostEstimate, Receipt, RunId, RunStatus, Segment
from launcher.ledger import CostRow, Ledger, RunRecord, receipt_to_text
from launcher.paths import StatePaths
from launcher.spending import By

BEGIN = datetime(2026, 11, 20, 12, tzinfo=UTC)
PLANNED = CostEstimate(instance_usd_per_hour=0.1, disk_usd_per_hour=0.01, address_usd_per_hour=0.005)
PLAN = json.dumps(
    {
        "image": {"root_size_gib": 75},
        "cost": {"instance_usd_per_hour": 0.1, "disk_usd_per_hour": 0.01, "address_usd_per_hour": 0.005},
    }
)


def record(name: str = "digits", number: int = 1, **given) -> RunRecord:
    values = {
        "run_id": RunId(f"{name}-{number}"),
        "name": name,
        "status": RunStatus.RUNNING,
        "created_at": BEGIN,
        "updated_at": BEGIN,
        "account": "{}",
        "region": "us-east-1",
        "spec": json.dumps({"resources": {"disk_gib": 50}, "limits": {"max_cost_usd": 2.5}}),
        "plan": PLAN,
        "results_dir": "runs/x",
        "token": "t",
    }
    return RunRecord(**{**values, **given})


def machine(number: int = 1, *, began_s: float = 0, lasted_s: float | None = 3600, **given) -> Segment:
    began_at = BEGIN + timedelta(seconds=began_s)
    values = {
        "number": number,
        "instance_id": f"i-{number}",
        "instance_type": "g4dn.xlarge",
        "region": "us-east-1",
        "zone": "us-east-1a",
        "market": "spot",
        "price_usd_per_hour": 0.2,
        "began_at": began_at,
        "ended_at": None if lasted_s is None else began_at + timedelta(seconds=lasted_s),
    }
    return Segment(**{**values, **given})


def receipt_for(run: RunRecord, machines: list[Segment], **given) -> Receipt:
    found = spending.bills(run, machines, BEGIN)
    values = {
        "run_id": run.run_id,
        "status": RunStatus.SUCCEEDED,
        "exit_status": 0,
        "instance_type": "g4dn.xlarge",
        "zone": "us-east-1a",
        "market": "spot",
        "price_usd_per_hour": 0.2,
        "billed_s": sum(each.billed_s for each in found),
        "cost_usd": spending.total_usd(found),
        "phases": (),
        "results_dir": "runs/x",
        "files": 0,
        "size_bytes": 0,
        "segments": found,
    }
    return Receipt(**{**values, **given})


def ended(run: RunRecord, machines: list[Segment], **given) -> CostRow:
    over = replace(run, status=RunStatus.SUCCEEDED, ended_at=machines[-1].ended_at)
    return CostRow(
        run=replace(over, receipt=receipt_to_text(receipt_for(over, machines, **given))), segments=tuple(machines)
    )


def shares_of(*rows: CostRow, now: datetime = BEGIN + timedelta(days=9)) -> list[spending.Share]:
    return [share for row in rows for share in spending.shares(row, now)]


def test_the_disk_is_the_larger_of_what_the_spec_asks_and_what_the_image_needs():
    assert spending.disk_gib(record()) == 75
    assert spending.disk_gib(record(spec=json.dumps({"resources": {"disk_gib": 100}}))) == 100
    assert spending.disk_gib(record(spec="{}", plan=None)) == 50
    assert (spending.max_cost_usd(record()), spending.max_cost_usd(record(spec="{}"))) == (2.5, None)


def test_what_the_ledger_keeps_of_a_spec_and_a_plan_is_what_is_read_here():
    from launcher import spec
    from launcher.domain import Image, JobSpec, Limits, Offer, Plan, Requirements
    from launcher.live import dump_plan

    job = JobSpec(
        name="a", argv=("x",), workdir=Path(), resources=Requirements(disk_gib=80), limits=Limits(max_cost_usd=7)
    )
    image = Image(
        image_id="ami-1", name="", region="us-east-1", architecture="x86_64", root_device="", root_size_gib=90
    )
    offers: tuple[Offer, ...] = ()
    plan = Plan(offers=offers, image=image, cost=PLANNED, dearest=PLANNED, hours=1)
    run = record(spec=spec.dump(job), plan=dump_plan(plan))
    assert (spending.disk_gib(run), spending.max_cost_usd(run)) == (90, 7)
    (share,) = spending.shares(CostRow(run=run, segments=(machine(),)), BEGIN)
    assert share.estimate_usd == pytest.approx(PLANNED.total_usd_per_hour)


def test_segments_go_to_their_own_pool_and_day_and_interruptions_are_counted():
    first = machine(1, lasted_s=1800, ended_by="Server.SpotInstanceTermination")
    second = machine(2, began_s=86400, zone="us-east-1b", market="on-demand", price_usd_per_hour=0.526)
    found = shares_of(ended(record(), [first, second]))
    assert [(share.pool, share.day.isoformat(), share.interrupted) for share in found] == [
        ("g4dn.xlarge/us-east-1a/spot", "2026-11-20", True),
        ("g4dn.xlarge/us-east-1b/on-demand", "2026-11-21", False),
    ]
    (by_name,) = spending.totals(found, By.NAME)
    assert (by_name.key, by_name.runs, by_name.under_way, by_name.interruptions) == ("digits", 1, 0, 1)
    assert by_name.hours == pytest.approx(1.5)
    assert by_name.estimate_usd == pytest.approx(1.5 * PLANNED.total_usd_per_hour)
    assert [total.key for total in spending.totals(found, By.DAY)] == ["2026-11-20", "2026-11-21"]
    assert [total.key.rsplit("/")[-1] for total in spending.totals(found, By.POOL)] == ["on-demand", "spot"]


def test_a_machine_over_midnight_is_split_by_the_second():
    found = shares_of(ended(record(), [machine(began_s=11 * 3600, lasted_s=3 * 3600, ended_by="spot")]))
    assert [(share.day.isoformat(), round(share.seconds), share.interrupted) for share in found] == [
        ("2026-11-20", 3600, False),
        ("2026-11-21", 7200, True),
    ]
    assert found[1].cost_usd == pytest.approx(2 * found[0].cost_usd)


def test_a_run_under_way_is_billed_up_to_now_and_marked():
    row = CostRow(run=record(), segments=(machine(lasted_s=None),))
    (now,) = shares_of(row, now=BEGIN + timedelta(hours=2))
    assert now.under_way
    assert now.seconds == 7200
    (total,) = spending.totals([now], By.NAME)
    assert (total.runs, total.under_way) == (1, 1)


def test_a_run_that_ended_without_a_receipt_is_billed_to_its_end():
    run = record(status=RunStatus.FAILED, ended_at=BEGIN + timedelta(hours=1))
    (share,) = shares_of(CostRow(run=run, segments=(machine(lasted_s=None),)))
    assert (share.seconds, share.under_way) == (3600, False)


def test_a_receipt_from_before_there_were_segments_keeps_its_cost():
    row = ended(record(), [machine()], segments=(), cost_usd=0.4321, billed_s=120.0)
    (share,) = shares_of(row)
    assert (share.cost_usd, share.seconds, share.pool) == (0.4321, 120, "g4dn.xlarge/us-east-1a/spot")


def test_a_run_that_never_had_a_machine_costs_nothing():
    over = record(status=RunStatus.FAILED, ended_at=BEGIN)
    told = receipt_to_text(receipt_for(over, [], instance_type="", zone="", market=""))
    assert shares_of(CostRow(run=replace(over, receipt=told), segments=())) == []


MACHINES = st.lists(
    st.builds(
        machine,
        st.just(1),
        began_s=st.floats(-2e5, 2e5),
        lasted_s=st.floats(0, 2e5),
        price_usd_per_hour=st.floats(0.01, 30),
        zone=st.sampled_from(["us-east-1a", "us-east-1b"]),
        ended_by=st.sampled_from(["", "spot", NOT_NEEDED]),
    ),
    min_size=1,
    max_size=4,
)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), MACHINES), max_size=6), st.sampled_from(By))
@settings(max_examples=60)
def test_the_sums_are_those_of_the_receipts_to_the_cent(runs, by):
    rows = [ended(record(name, number), segments) for number, (name, segments) in enumerate(runs)]
    found = shares_of(*rows)
    totals = spending.totals(found, by)
    receipts = [json.loads(row.run.receipt) for row in rows]
    whole = spending.total("total", found)
    for summed in (math.fsum(total.cost_usd for total in totals), whole.cost_usd):
        assert summed == pytest.approx(math.fsum(each["cost_usd"] for each in receipts), abs=0.005)
    assert whole.hours == pytest.approx(sum(each["billed_s"] for each in receipts) / 3600)
    assert whole.runs == len(rows)
    assert whole.interruptions == sum(total.interruptions for total in totals)
    assert whole.interruptions == sum(each["ended_by"] == "spot" for row in receipts for each in row["segments"])


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A ledger with a run that ended, interrupted once, and one that goes on."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    now = datetime.now(UTC)
    with Ledger.open(StatePaths(tmp_path / "gpurun").ledger) as opened:
        over = ended(record(), [machine(1, ended_by="spot"), machine(2, began_s=3600)])
        opened.create(replace(over.run, created_at=now))
        for each in over.segments:
            opened.begin_segment(over.run.run_id, each)
        going = record("faces", 2, created_at=now, instance_id="i-1", launcher_pid=None)
        opened.create(going)
        opened.begin_segment(going.run_id, machine(lasted_s=None, began_at=now - timedelta(hours=1)))
        yield opened


def run(capsysbinary, *arguments: str) -> tuple[int, str, str]:
    status = cli.run(list(arguments))
    out, err = capsysbinary.readouterr()
    return status, out.decode(), err.decode()


def test_the_command_prints_a_table_json_or_csv_with_the_same_sums(book, capsysbinary):
    status, text, _ = run(capsysbinary, "cost", "--since", "1d")
    assert status == 0
    header, digits, faces, total, note = text.splitlines()
    assert header.split() == ["name", "runs", "interrupted", "hours", "planned", "USD"]
    assert digits.split()[:4] == ["digits", "1", "1", "2.00"]
    assert faces.split()[:5] == ["faces", "*", "1", "0", "1.00"]
    assert note.startswith("* so far: 1 run under way")
    told = json.loads(run(capsysbinary, "cost", "--since", "1d", "--json")[1])
    assert told["by"] == "name"
    assert {row["key"]: row["under_way"] for row in told["rows"]} == {"digits": 0, "faces": 1}
    rows = list(csv.DictReader(run(capsysbinary, "cost", "--since", "1d", "--csv")[1].splitlines()))
    assert [row["name"] for row in rows] == [row["key"] for row in told["rows"]]
    assert sum(float(row["cost_usd"]) for row in rows) == pytest.approx(told["total"]["cost_usd"], abs=1e-4)
    assert float(total.split()[-1]) == pytest.approx(told["total"]["cost_usd"], abs=1e-3)


def test_by_pool_and_by_day(book, capsysbinary):
    pools = json.loads(run(capsysbinary, "cost", "--by", "pool", "--json")[1])["rows"]
    assert [(row["key"], row["runs"]) for row in pools] == [("g4dn.xlarge/us-east-1a/spot", 2)]
    days = json.loads(run(capsysbinary, "cost", "--by", "day", "--json")[1])["rows"]
    assert days[0]["key"] == "2026-11-20"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "0d"], "--since 30d"),
        (["--since", "-3d"], "--since 30d"),
        (["--by", "colour"], "--by"),
        (["--json", "--csv"], "two formats"),
    ],
)
def test_bad_input_is_told(book, capsysbinary, arguments, words):
    status, out, err = run(capsysbinary, "cost", *arguments)
    assert status == 2
    assert words in out + err


def test_status_shows_a_runs_machines_and_what_they_cost(book, capsysbinary):
    run_id = "digits-1"
    text = run(capsysbinary, "status", run_id)[1]
    (first,) = [line for line in text.splitlines() if line.startswith("machines")]
    assert first.split()[1:4] == ["#", "type", "market"]
    assert "spot" in text.splitlines()[text.splitlines().index(first) + 1]
    assert "USD, disk and address included; 2.50 at most" in text
    (row,) = json.loads(run(capsysbinary, "status", run_id, "--json")[1])
    assert row["cost_usd"] == pytest.approx(sum(each["cost_usd"] for each in row["segments"]))
