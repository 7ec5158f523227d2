"""What a machine makes of the archives: nothing of the laptop that only the laptop has."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from launcher.deploy import unpacked
from launcher.domain import Limits, SshOptions
from launcher.errors import SpecError
from launcher.schedule import deployed, stored
from tests.deploy.conftest import job, record, unpack


@pytest.fixture
def folder(tmp_path) -> Path:
    mark = deployed.Deployed(region="us-east-1", at="2026-11-21T12:00:00+00:00", uri="s3://bucket/weights")
    options = {"sandbox": True, "profile": "ann", "canary": 3, "notify": ["json://host"]}
    schedule = deployed.marked(record(options=json.dumps(options), data="/home/ann/rows", paused=True), mark)
    spec = job(
        data=Path("/home/ann/rows"),
        outputs="s3://elsewhere/x",
        ssh=SshOptions(key=Path("/home/ann/.ssh/id")),
        limits=Limits(max_hours=9.0, max_cost_usd=1.5),
    )
    return unpack(tmp_path, schedule, spec, hours=2.5)


def test_options_paths_and_place_of_the_laptop_stay_there(folder):
    found = unpacked.read(folder)
    assert json.loads(found.schedule.options) == {"canary": 3, "notify": ["json://host"]}
    assert deployed.of(found.schedule) is None
    assert not found.schedule.paused
    assert (found.schedule.place, found.schedule.data) == ("local", "")
    assert (found.name, found.region, found.bucket, found.hours) == ("digits", "us-east-1", "bucket", 2.5)
    assert found.spec.workdir == folder / "work/code"
    assert found.spec.data == folder / "data"
    assert (found.spec.outputs, found.spec.ssh, found.spec.secrets) == (None, SshOptions(), ())
    for text in (found.schedule.spec, found.schedule.folder):
        assert text.startswith(str(folder))
    kept = (record().cron, record().store, record().missed, record().considered_at)
    there = found.schedule
    assert (there.cron, there.store, there.missed, there.considered_at) == kept


def test_data_in_s3_is_watched_and_used_from_there(tmp_path):
    folder = unpack(tmp_path, record(data="s3://rows/new"), job(data="s3://rows/new"))
    found = unpacked.read(folder)
    assert (found.schedule.data, found.spec.data) == ("s3://rows/new", "s3://rows/new")


def test_the_job_gets_the_time_that_is_left_and_no_budget_to_watch(folder):
    found = unpacked.read(folder)
    assert datetime.now(UTC) - found.born_at < timedelta(seconds=60)
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    unpacked.store_spec(found, ends_at)
    spec = stored.read(Path(found.schedule.spec))
    assert spec is not None
    assert spec.limits.max_hours == pytest.approx(58 / 60, abs=0.01)
    assert spec.limits.max_cost_usd is None
    unpacked.store_spec(found, datetime.now(UTC) - timedelta(hours=1))
    late = stored.read(Path(found.schedule.spec))
    assert late is not None
    assert late.limits.max_hours == pytest.approx(1 / 60)


@pytest.mark.parametrize("name", ["deployed.json", "spec.json", "schedule.json"])
@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"name": 3}', "null", "\x00\xff"])
def test_broken_files_are_told(folder, name, text):
    path = folder / "work" / name
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SpecError) as caught:
        unpacked.read(folder)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [("options", "{"), ("options", 7), ("considered_at", "yesterday"), ("created_at", None)],
)
def test_a_schedule_with_a_broken_field_is_told(folder, key, value):
    path = folder / "work/schedule.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(SpecError, match="holds no deployed schedule"):
        unpacked.read(folder)
