"""A bucket on the sandbox, and what a deployed schedule's machine finds when it comes up."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from launcher.aws.client import Aws
from launcher.deploy.lease import Desk
from launcher.domain import JobSpec
from launcher.ledger import ScheduleRecord
from launcher.sandbox.client import SandboxClient
from launcher.sandbox.control import Sandbox
from launcher.spec import dump

BEGIN = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
_numbers = itertools.count(1)


def record(name: str = "digits", **changes: Any) -> ScheduleRecord:
    """A schedule that can be deployed."""
    plain = ScheduleRecord(
        name=name,
        created_at=BEGIN - timedelta(days=30),
        spec="/home/ann/digits/job.yaml",
        folder="/home/ann/digits",
        cron="0 3 * * 1",
        data_looked_at=BEGIN - timedelta(hours=1),
        missed="run-once",
        store="s3://bucket/weights",
        place="aws",
        options=json.dumps({"sandbox": True, "profile": None, "canary": 1, "notify": []}),
        considered_at=BEGIN,
    )
    return replace(plain, **changes)


def job(**changes: Any) -> JobSpec:
    """A spec of a job that does next to nothing."""
    plain = JobSpec(name="digits", run="python3 train.py", workdir=Path("/home/ann/digits"))
    return replace(plain, **changes)


def unpack(folder: Path, schedule: ScheduleRecord, spec: JobSpec, **told: Any) -> Path:
    """A machine's folder as the archives leave it, a moment after its birth."""
    work = folder / "work"
    (work / "code").mkdir(parents=True)
    times = {key: value.isoformat() for key, value in asdict(schedule).items() if isinstance(value, datetime)}
    facts = {
        "name": schedule.name,
        "region": "us-east-1",
        "bucket": "bucket",
        "prefix": f"weights/.schedules/{schedule.name}/",
        "hours": 1.0,
    }
    (work / "deployed.json").write_text(json.dumps(facts | told))
    (work / "schedule.json").write_text(json.dumps({**asdict(schedule), **times}))
    (work / "spec.json").write_text(dump(spec))
    (work / "code.json").write_text(json.dumps({"facts": {}, "notes": [], "patch": ""}))
    (folder / "born").write_text(f"{int(datetime.now(UTC).timestamp())}\n")
    return folder


@pytest.fixture
def aws(sandbox_none: Sandbox) -> Aws:
    return Aws(sandbox_none.account)


@pytest.fixture
def torment(sandbox_none: Sandbox) -> Iterator[SandboxClient]:
    """The sandbox's own API; faults are lifted afterwards."""
    it = SandboxClient(sandbox_none.endpoint_url)
    yield it
    it.clear_faults()


@pytest.fixture
def bucket(aws: Aws) -> str:
    """An empty one."""
    name = f"weights-{os.getpid()}-{next(_numbers)}"
    aws.s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def desk(aws: Aws, bucket: str) -> Desk:
    return Desk(aws=aws, bucket=bucket, prefix="team/.schedules/digits/")


@pytest.fixture
def keys(aws: Aws, bucket: str) -> Callable[[], list[str]]:
    """What lies in the bucket."""
    return lambda: [each["Key"] for each in aws.s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.fixture
def key_of_ours(sandbox_none: Sandbox) -> dict[str, str]:
    """The environment in which a program finds the sandbox, as a machine with a role finds AWS."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": sandbox_none.endpoint_url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
