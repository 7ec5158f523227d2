"""What a run takes for its results out of S3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from launcher import cost, creation, outputs, render
from launcher.aws.client import Aws
from launcher.commands import fetch_weights
from launcher.domain import Image, JobSpec, Market, Offer, Plan, Requirements
from launcher.errors import TransferError
from launcher.ledger import Ledger
from launcher.live import LiveRun
from launcher.paths import StatePaths
from tests.durable.conftest import Machine

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


@pytest.fixture
def live(tmp_path: Path, aws: Aws, uri: str) -> Iterator[LiveRun]:
    """A run whose outputs are in S3, of a machine that is gone."""
    state = StatePaths(tmp_path / "state")
    job = JobSpec(name="digits", argv=("x",), workdir=tmp_path, outputs=uri, resources=Requirements(disk_gib=50))
    plan = Plan(
        offers=(OFFER,),
        image=IMAGE,
        cost=cost.estimate(0.2, 75, "us-east-1"),
        dearest=cost.estimate(0.4, 75, "us-east-1"),
        hours=4,
    )
    with Ledger.open(state.ledger) as ledger, closing(render.reporter(as_json=True)) as reporter:
        made = creation.create(
            job,
            plan,
            aws.account,
            aws,
            ledger=ledger,
            state=state,
            reporter=reporter,
            planning_began=datetime.now(UTC),
        )
        made.update(segment=1)
        yield made


@pytest.fixture
def ended(tmp_path: Path, live: LiveRun, aws: Aws, uri: str) -> Machine:
    """A machine that had sent a generation while its job ran, and another at its end."""
    machine = Machine(run=tmp_path / "machine" / live.run_id, aws=aws, uri=uri)
    (machine.output / "model").write_bytes(b"half")
    machine.ship()
    machine.save("weights", b"whole")
    (machine.output / "model").write_bytes(b"all of it")
    machine.ship(over=True)
    return machine


def test_all_that_was_sent_is_the_results(live: LiveRun, ended: Any) -> None:
    report = outputs.results(live)
    assert report is not None
    assert report.exit_status == 0
    assert live.has_event("fetched")
    assert (Path(live.record.results_dir) / "model").read_bytes() == b"all of it"


def test_where_a_piece_of_it_is_gone_there_are_none(live: LiveRun, ended: Any, aws: Aws, uri: str, capfd: Any) -> None:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    aws.s3.delete_object(Bucket=bucket, Key=f"{prefix}/{live.run_id}/results/model")
    assert outputs.results(live) is None
    assert not live.has_event("fetched")
    assert "did not come home" in capfd.readouterr().out


def test_what_is_home_of_ours_gives_way_to_what_the_machine_has_now(live: LiveRun, ended: Any) -> None:
    assert outputs.catch_up(live) is not None
    (ended.output / "model").unlink()
    (ended.output / "model").mkdir()
    (ended.output / "model" / "w").write_bytes(b"1")
    ended.save("weights", b"newer")
    ended.ship(over=True)
    home = outputs.catch_up(live)
    assert home is not None
    assert (home.output / "model" / "w").read_bytes() == b"1"
    (ended.output / "model" / "w").unlink()
    (ended.output / "model").rmdir()
    (ended.output / "model").write_bytes(b"2")
    ended.save("weights", os.urandom(8))
    ended.ship(over=True)
    home = outputs.catch_up(live)
    assert home is not None
    assert (home.output / "model").read_bytes() == b"2"


def test_where_s3_does_not_answer_what_is_home_is_fetched(
    live: LiveRun, ended: Any, cloud: Any, tmp_path: Path, capfd: Any
) -> None:
    assert outputs.catch_up(live) is not None
    cloud.fault({"match": {"action": "GET .*"}, "effect": {"error": "AccessDenied", "status": 403}, "times": -1})
    fetch_weights._from_store(live, tmp_path / "to", None)
    assert (tmp_path / "to" / "model").read_bytes() == b"all of it"
    assert "could not be asked" in capfd.readouterr().out


def test_a_job_that_takes_every_name_of_ours_is_told(tmp_path: Path) -> None:
    results = tmp_path / "r"
    assert outputs.own_folder(["gpurun/x", "w"], results) == results / "gpurun-run"
    with pytest.raises(TransferError, match="no name is left"):
        outputs.own_folder(["gpurun/x", "gpurun-run", "r/y"], results)
