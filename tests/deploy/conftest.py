"""A bucket on the sandbox, and what a deployed schedule's machine finds when it comes up."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from launcher.aws.client import Aws
from launcher.aws.durable.place import find
from launcher.deploy import deployment, raze, stand
from launcher.deploy.lease import Desk
from launcher.domain import Device, JobSpec
from launcher.ledger import Ledger, ScheduleRecord
from launcher.sandbox.client import SandboxClient
from launcher.sandbox.control import Sandbox
from launcher.spec import dump

if TYPE_CHECKING:
    from launcher.deploy.deployment import Deployment
    from launcher.ports import Reporter

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
    plain = JobSpec(name="digits", script="python3 train.py", workdir=Path("/home/ann/digits"))
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


class Quiet:
    """A reporter that only remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(f"warning: {text}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A project, a bucket, and what is planned from them."""

    aws: Aws
    bucket: str
    folder: Path

    def plan(self, name: str = "digits", *, prefix: str = "w", spec: Any = None, **changes: Any) -> Deployment:
        """A deployment, its archives in a folder of its own."""
        schedule = record(name=name, store=f"s3://{self.bucket}/{prefix}", **changes)
        packed = self.folder / f"packed-{next(_numbers)}"
        packed.mkdir()
        work = self.folder / "project"
        plain = job(workdir=work, data=work / "rows", device=Device.CPU)
        with Ledger.open(self.folder / "ledger.db") as book:
            return deployment.make(
                schedule,
                replace(plain, **spec or {}),
                self.aws,
                book.cache,
                folder=packed,
                reporter=cast("Reporter", Quiet()),
            )

    def roles(self) -> dict[str, dict[str, Any]]:
        """Those of schedules, by name: their policy."""
        found = [each["RoleName"] for each in self.aws.iam.list_roles()["Roles"]]
        mine = [each for each in found if each.startswith("gpurun-schedule-")]
        return {each: self.aws.iam.list_role_policies(RoleName=each)["PolicyNames"] for each in mine}

    def standing(self) -> list[tuple[str, str]]:
        """All that deployments have made, in whatever state; nothing of gpurun's own code looks."""
        profiles = self.aws.iam.list_instance_profiles()["InstanceProfiles"]
        templates = self.aws.ec2.describe_launch_templates()["LaunchTemplates"]
        groups = self.aws.scheduler.list_schedule_groups()["ScheduleGroups"]
        times = self.aws.scheduler.list_schedules()["Schedules"]
        objects = self.aws.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        found = [("role", each) for each in self.roles()]
        found += [("profile", each["InstanceProfileName"]) for each in profiles]
        found += [("template", each["LaunchTemplateName"]) for each in templates]
        found += [("group", each["Name"]) for each in groups if each["Name"].startswith("gpurun-schedule-")]
        found += [("schedule", each["Name"]) for each in times]
        found += [("object", each["Key"]) for each in objects]
        return sorted(found)


def make(bench: Bench, wanted: Deployment) -> list[str]:
    """Have it stand; gives what was told."""
    said: list[str] = []
    stand.stand(bench.aws, wanted, said.append, lambda _: None)
    return said


def remove(bench: Bench, name: str = "digits", *, everything: bool = False) -> list[str]:
    """Have nothing of it stand; gives what was told."""
    said: list[str] = []
    place = find(bench.aws, f"s3://{bench.bucket}/w")
    raze.raze(bench.aws, name, place, everything=everything, tell=said.append)
    return said


@pytest.fixture
def bench(aws: Aws, bucket: str, tmp_path: Path) -> Iterator[Bench]:
    """An account with nothing in it, before and after."""
    work = tmp_path / "project"
    (work / "rows").mkdir(parents=True)
    (work / "train.py").write_text("print('hello')\n")
    (work / "rows/rows.csv").write_text("1,2\n")
    it = Bench(aws=aws, bucket=bucket, folder=tmp_path)
    yield it
    place = find(aws, f"s3://{bucket}/w")
    for name in ("digits", "digits-2"):
        raze.raze(aws, name, place, everything=True, tell=lambda _: None)
