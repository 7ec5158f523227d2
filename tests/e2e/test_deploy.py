"""Weights that are trained again with the laptop off: the cloud's own clock, a machine that does it all by itself."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from launcher.aws.client import Aws
from launcher.deploy import again
from launcher.sandbox.client import SandboxClient
from tests.e2e.conftest import Laptop
from tests.faults.observer import Cloud, Thing

REGION = "us-east-1"
TRAIN = """
import hashlib, json, os, pathlib, struct, time, zipfile

out = pathlib.Path(os.environ["GPURUN_OUTPUT_DIR"])
rows = pathlib.Path(os.environ["GPURUN_DATA_DIR"], "rows.txt").read_text().split()
time.sleep(float(os.environ["NAP_S"]))
value = sum(map(float, rows)) / len(rows)
header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }".ljust(117) + "\\n"
array = b"\\x93NUMPY\\x01\\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack("<d", value)
with zipfile.ZipFile(out / "w.npz", "w") as file:
    file.writestr("a.npy", array)


def judged(path):
    with zipfile.ZipFile(path) as file:
        (learned,) = struct.unpack("<d", file.read("a.npy")[-8:])
    return {"test_error": abs(learned - 3.0), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


champion = os.environ.get("GPURUN_CHAMPION_DIR")
told = {"challenger": judged(out / "w.npz"), "champion": None, "rows_sha256": "0" * 64}
if champion:
    told["champion"] = judged(pathlib.Path(champion, "w.npz"))
(out / "evaluation.json").write_text(json.dumps(told))
"""


@dataclass
class Account:
    """The cloud as somebody sees it who uses none of gpurun's code."""

    eyes: Cloud
    bucket: str
    before: frozenset[Thing]

    def standing(self) -> set[tuple[str, str]]:
        """What is there that was not there before, roles, profiles and groups too."""
        iam, times = self.eyes.client("iam", REGION), self.eyes.client("scheduler", REGION)
        found = set(self.eyes.leftovers(REGION, self.before))
        found |= {("role", each["RoleName"]) for each in iam.list_roles()["Roles"]}
        found |= {("profile", each["InstanceProfileName"]) for each in iam.list_instance_profiles()["InstanceProfiles"]}
        found |= {("group", each["Name"]) for each in times.list_schedule_groups()["ScheduleGroups"]}
        return {(kind, name) for kind, name in found if kind not in {"role", "profile", "group"} or "schedule-" in name}

    def machines(self, name: str) -> dict[str, str]:
        """The state of each machine that the schedule has ever had."""
        mine = [{"Name": "tag:gpurun:schedule", "Values": [name]}]
        pages = self.eyes.client("ec2", REGION).get_paginator("describe_instances").paginate(Filters=mine)
        return {
            each["InstanceId"]: each["State"]["Name"]
            for page in pages
            for reservation in page["Reservations"]
            for each in reservation["Instances"]
        }

    def keys(self, part: str = "") -> list[str]:
        found = self.eyes.client("s3", REGION).list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [each["Key"] for each in found if part in each["Key"]]

    def champion(self) -> int:
        answer = self.eyes.client("s3", REGION).get_object(Bucket=self.bucket, Key="w/digits/champion/version.json")
        return int(json.loads(answer["Body"].read())["number"])


@pytest.fixture
def account(cloud, laptop) -> Iterator[Account]:
    eyes = Cloud(cloud.endpoint_url)
    bucket = f"weights-{time.monotonic_ns()}"
    eyes.client("s3", REGION).create_bucket(Bucket=bucket)
    before = eyes.everything(REGION)
    yield Account(eyes=eyes, bucket=bucket, before=before)
    eyes.end(REGION, before)


def await_(good: Callable[[], Any], why: Callable[[], object], timeout_s: float = 90) -> None:
    limit = time.monotonic() + timeout_s
    while not good():
        assert time.monotonic() < limit, why()
        time.sleep(0.1)


def done(laptop: Laptop, *arguments: str) -> str:
    """What a command says that goes well."""
    ended = laptop.gpurun(*arguments, timeout_s=120)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return ended.stdout


def add(laptop: Laptop, account: Account, name: str, *, nap_s: float = 0.0) -> None:
    laptop.job(TRAIN, "train.py")
    rows = laptop.work / "rows"
    rows.mkdir()
    (rows / "rows.txt").write_text("2.9 3.1 3.05\n")
    laptop.job(
        f"name: digits\nrun: {sys.executable} train.py\ndevice: cpu\ndata: rows\n"
        f'env: {{NAP_S: "{nap_s}"}}\nlimits: {{max_hours: 1}}\n',
        "job.yaml",
    )
    store = f"s3://{account.bucket}/w"
    asked = ("--cron", "0 3 * * 1", "--tz", "Europe/Madrid", "--sandbox", "--store", store, "--metric", "test_error")
    done(laptop, "schedule", "add", name, "job.yaml", *asked)


def history(laptop: Laptop, name: str) -> list[dict[str, Any]]:
    """The newest first."""
    found: list[dict[str, Any]] = json.loads(done(laptop, "schedule", "history", name, "--json"))
    return found


def turn(laptop: Laptop, account: Account, name: str) -> None:
    """Have the cloud fire, and await the machine's end; nothing of gpurun runs here meanwhile."""
    before = account.machines(name)
    done(laptop, "schedule", "run-now", name)
    assert [process for process in laptop.started if process.poll() is None] == []

    def gone() -> bool:
        new = {each: state for each, state in account.machines(name).items() if each not in before}
        return bool(new) and set(new.values()) == {"terminated"}

    await_(gone, lambda: console(laptop, account, name))


def console(laptop: Laptop, account: Account, name: str) -> str:
    told = SandboxClient(laptop.cloud.endpoint_url)
    return "\n".join(f"{each} {state}: {told.console(each)}" for each, state in account.machines(name).items())


def test_a_machine_trains_and_promotes_by_itself_and_is_gone(laptop, account):
    add(laptop, account, "weekly")
    assert "EC2 launch template" in done(laptop, "schedule", "deploy", "weekly", "--print")
    assert account.standing() == set()
    done(laptop, "schedule", "deploy", "weekly", "--yes")
    standing = account.standing()
    assert sorted(kind for kind, _ in standing) == ["group", "profile", "role", "role", "schedule", "template"]
    assert account.machines("weekly") == {}

    turn(laptop, account, "weekly")
    assert account.standing() == standing
    (first,) = history(laptop, "weekly")
    assert (first["status"], first["version"]) == ("succeeded", "digits@1"), console(laptop, account, "weekly")
    assert account.champion() == 1
    assert account.keys(f"/runs/{first['run_id']}/w.npz")

    (laptop.work / "rows/rows.txt").write_text("3.0 3.0 -300.0\n")  # poisoned
    done(laptop, "schedule", "deploy", "weekly", "--yes")
    again_standing = account.standing()
    assert sorted(kind for kind, _ in again_standing) == sorted(kind for kind, _ in standing)
    assert {name for kind, name in again_standing - standing if kind != "template"} == set()
    turn(laptop, account, "weekly")
    second = history(laptop, "weekly")[0]
    assert (second["status"], second["version"]) == ("succeeded", "digits@2"), console(laptop, account, "weekly")
    assert "challenger of digits@1" in second["reason"]
    assert account.champion() == 1
    assert account.standing() == again_standing

    done(laptop, "schedule", "undeploy", "weekly", "--yes", "--all")
    assert account.standing() == set()
    assert account.keys(".schedules") == []
    assert account.champion() == 1
    assert [each["version"] for each in history(laptop, "weekly")] == ["digits@2", "digits@1"]


def test_a_machine_that_dies_is_ended_by_its_kill_switch_and_told_by_the_next(laptop, account, cloud):
    add(laptop, account, "lost", nap_s=60)
    done(laptop, "schedule", "deploy", "lost", "--yes")
    standing = account.standing()
    again.once(Aws(cloud.account).at(REGION), "lost", again.NOW, left_s=30)
    # Its ledger is kept once its tick is taken: lease 1 was the laptop's.
    await_(lambda: account.keys("ledgers/00000002.db"), lambda: console(laptop, account, "lost"))
    (machine,) = account.machines("lost")
    SandboxClient(cloud.endpoint_url).kill(machine)
    switches = {name for kind, name in account.standing() - standing if kind == "schedule"}
    assert len(switches) == 1, "it set its own kill switch"
    await_(lambda: account.machines("lost")[machine] == "terminated", account.standing)
    await_(lambda: account.standing() == standing, lambda: account.standing() - standing)
    assert {each["status"] for each in history(laptop, "lost")} <= {"taken", "running"}

    job = laptop.work / "job.yaml"
    job.write_text(job.read_text().replace("60", "0"))
    done(laptop, "schedule", "deploy", "lost", "--yes")
    turn(laptop, account, "lost")
    newest, before = history(laptop, "lost")
    assert (newest["status"], newest["version"]) == ("succeeded", "digits@1"), console(laptop, account, "lost")
    assert before["status"] == "failed"
    assert "its machine is gone" in before["reason"]
    done(laptop, "schedule", "undeploy", "lost", "--yes")
    assert account.standing() == set()
    assert not [key for key in account.keys(".schedules") if Path(key).name.startswith(("program-", "work-", "data-"))]
