"""What a plan learns from the runs in the ledger."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from launcher import plan
from launcher.domain import Account, RunId, RunStatus
from launcher.ledger import Ledger, RunRecord, account_to_text, new_run_id

HERE = Account(profile="work")
BEGAN = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "state" / "ledger.db") as opened:
        yield opened


@pytest.fixture
def ran(ledger, tmp_path):
    """Enter a run with its events, as a launcher would have."""
    count = 0

    def enter(*events, name="faces", account=HERE, place="aws"):
        nonlocal count
        count += 1
        run_id = RunId(new_run_id(name))
        ledger.create(
            RunRecord(
                run_id=run_id,
                name=name,
                status=RunStatus.PLANNED,
                created_at=BEGAN + timedelta(hours=count),
                updated_at=BEGAN,
                account=account_to_text(account),
                region="us-east-1",
                spec="{}",
                results_dir=str(tmp_path / run_id),
                token=run_id,
                place=place,
            )
        )
        for kind, data in events:
            ledger.event(run_id, kind, data)
        return run_id

    return enter


def phase(name, at_s):
    return "phase", {"name": name, "at": (BEGAN + timedelta(seconds=at_s)).isoformat()}


def moved(kind, size_bytes, seconds):
    return kind, {"label": "data", "sent_bytes": size_bytes, "seconds": seconds}


def test_without_runs_everything_is_assumed_and_says_so(ledger):
    known = plan.experience(ledger, HERE, "faces")
    assert known == plan.Experience()
    assert known.upload_bytes_per_s.source == known.boot_s.source == "assumed"
    assert known.checkpoint_bytes is None


def test_rates_are_those_of_the_last_transfer_that_was_large_enough_to_tell(ledger, ran):
    ran(moved("sent", 50_000_000, 50.0), moved("came", 90_000_000, 3.0))
    last = ran(moved("sent", 50_000_000, 10.0), moved("sent", 1000, 0.5))
    known = plan.experience(ledger, HERE, "another")
    assert (known.upload_bytes_per_s.value, known.upload_bytes_per_s.source) == (5e6, f"run {last}")
    assert known.home_bytes_per_s.value == 3e7


def test_small_transfers_tell_nothing_of_the_line(ledger, ran):
    ran(moved("sent", 10_000, 1.0), moved("sent", 100_000_000, 0.0))
    assert plan.experience(ledger, HERE, "faces").upload_bytes_per_s.source == "assumed"


def test_another_cloud_is_reached_over_another_line(ledger, ran):
    ran(moved("sent", 50_000_000, 0.1), phase("provision", 0), phase("sync", 1), account=Account(profile="sandbox"))
    known = plan.experience(ledger, HERE, "faces")
    assert known.upload_bytes_per_s.source == known.boot_s.source == "assumed"


@pytest.mark.parametrize("place", ["local", "ssh://me@box"])
def test_a_machine_of_one_s_own_tells_of_the_job_and_not_of_the_way_to_aws(ledger, ran, place):
    saved = "checkpoint.saved", {"generation": 1, "size_bytes": 700}
    ran(moved("sent", 50_000_000, 0.1), phase("provision", 0), phase("sync", 1), saved, place=place)
    known = plan.experience(ledger, HERE, "faces")
    assert known.upload_bytes_per_s.source == known.boot_s.source == "assumed"
    assert known.checkpoint_bytes.value == 700


def test_boot_is_the_middle_of_the_runs_from_asking_to_sending(ledger, ran):
    for took_s in (30, 50, 400):
        ran(phase("plan", 0), phase("provision", 5), phase("boot", 7), phase("connect", 20), phase("sync", 5 + took_s))
    known = plan.experience(ledger, HERE, "another")
    assert (known.boot_s.value, known.boot_s.source) == (50, "3 earlier runs")


def test_only_the_first_machine_of_a_run_counts(ledger, ran):
    ran(phase("provision", 0), phase("sync", 40), phase("provision", 1000), phase("sync", 5000))
    assert plan.experience(ledger, HERE, "faces").boot_s.value == 40


def test_the_checkpoint_is_the_last_one_of_the_last_run_of_that_name(ledger, ran):
    saved = [("checkpoint.saved", {"generation": n, "size_bytes": 1000 * n}) for n in (1, 2, 3)]
    run_id = ran(*saved)
    ran(("checkpoint.saved", {"generation": 1, "size_bytes": 7}), name="other")
    known = plan.experience(ledger, HERE, "faces")
    assert (known.checkpoint_bytes.value, known.checkpoint_bytes.source) == (3000, f"run {run_id}")
    assert known.checkpoint_interval_s.source == f"run {run_id}"
    assert 0 <= known.checkpoint_interval_s.value < 60


def test_a_checkpoint_that_came_home_at_the_end_counts_by_its_files(ledger, ran, tmp_path):
    folder = tmp_path / ran() / "gpurun" / "checkpoint" / "deep"
    folder.mkdir(parents=True)
    (folder / "a.npz").write_bytes(bytes(1500))
    (folder.parent / "b.npz").write_bytes(bytes(500))
    (folder / "link").symlink_to("nowhere")
    assert plan.experience(ledger, HERE, "faces").checkpoint_bytes.value == 2000
