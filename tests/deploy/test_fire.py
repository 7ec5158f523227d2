"""A machine's turn, run as a machine runs it, but on this computer: the sandbox's S3 and Scheduler, and a metadata
service of the test's own. Nothing is switched off: that is the start script's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from launcher.aws import killswitch, recurring
from launcher.deploy import again, books, names
from launcher.deploy.lease import Desk, Lease
from launcher.domain import Account, Device, Limits, RunId, RunStatus
from launcher.ledger import (
    Ledger,
    Owner,
    RunRecord,
    ScheduleRecord,
    Tick,
    TickRecord,
    TickStatus,
    account_to_text,
    new_run_id,
)
from tests.deploy.conftest import job, record, unpack

INSTANCE = "i-0123456789abcdef0"
HOURS = 1.0
TRAIN = """
import os, pathlib, struct, time, zipfile
begun = pathlib.Path(os.environ["BEGUN"])
begun.write_text("")
time.sleep(float(os.environ["NAP_S"]))
header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }".ljust(117) + "\\n"
array = b"\\x93NUMPY\\x01\\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack("<d", 1.0)
with zipfile.ZipFile(os.environ["GPURUN_OUTPUT_DIR"] + "/w.npz", "w") as file:
    file.writestr("a.npy", array)
"""


class Metadata(BaseHTTPRequestHandler):
    """The instance metadata service, version 2."""

    leaves: dict[str, str]

    def do_PUT(self) -> None:
        self._answer(200, "token")

    def do_GET(self) -> None:
        name = self.path.removeprefix("/latest/meta-data/")
        if self.headers.get("X-aws-ec2-metadata-token") != "token":
            self._answer(401, "")
        elif name in self.leaves:
            self._answer(200, self.leaves[name])
        else:
            self._answer(404, "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@dataclass
class Machine:
    """A computer that takes itself for a machine of the schedule."""

    folder: Path
    desk: Desk
    endpoint_url: str
    leaves: dict[str, str] = field(default_factory=dict)
    metadata: str = ""
    schedule: ScheduleRecord = field(default_factory=record)
    nap_s: float = 0.0
    max_restarts: int = 10
    process: subprocess.Popen[str] | None = None

    def tags(self, **tags: str) -> None:
        told = {names.TAG_CAUSE: "now", **{key.replace("_", ":"): value for key, value in tags.items()}}
        self.leaves["tags/instance/"] = "\n".join(told)
        self.leaves.update({f"tags/instance/{key}": value for key, value in told.items()})

    @property
    def begun(self) -> Path:
        return self.folder.parent / "begun"

    def start(self) -> subprocess.Popen[str]:
        spec = job(
            script=f"{sys.executable} train.py",
            device=Device.CPU,
            env={"BEGUN": str(self.begun), "NAP_S": str(self.nap_s)},
            limits=Limits(max_hours=HOURS, max_restarts=self.max_restarts),
        )
        unpack(self.folder, self.schedule, spec, bucket=self.desk.bucket, prefix=self.desk.prefix, hours=HOURS)
        (self.folder / "work/code/train.py").write_text(TRAIN)
        plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment = plain | {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.metadata,
            "XDG_STATE_HOME": str(self.folder / "home"),
            "HOME": str(self.folder),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "launcher.cli", "schedule", "fire", str(self.folder)],
            cwd=self.folder,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        return self.process

    def await_job(self) -> None:
        assert self.process is not None
        limit = time.monotonic() + 60
        while not self.begun.exists():
            assert time.monotonic() < limit
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        assert self.process is not None
        _, said = self.process.communicate(timeout=90)
        return self.process.returncode, said

    def turn(self) -> tuple[int, str]:
        self.start()
        return self.end()

    def ticks(self) -> list[TickRecord]:
        """What the schedule's ledger in S3 says, the newest first."""
        path = self.folder.parent / f"seen-{time.monotonic_ns()}.db"
        assert books.bring(self.desk.aws, self.desk.bucket, self.desk.prefix, path) is not None
        with Ledger.open(path) as book:
            return list(book.ticks.list(self.schedule.name))

    def seed(self, fill: Callable[[Ledger], None]) -> None:
        """Have a ledger in S3, as an earlier machine left it."""
        path = self.folder.parent / "before.db"
        with Ledger.open(path) as book:
            book.schedules.add(self.schedule)
            fill(book)
        lease = self.desk.take("i-before", "", datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC))
        assert isinstance(lease, Lease)
        books.keep(self.desk.aws, self.desk.bucket, self.desk.prefix, path, lease.number)
        self.desk.give_back(lease)

    def objects(self) -> list[str]:
        found = self.desk.aws.s3.list_objects_v2(Bucket=self.desk.bucket).get("Contents", [])
        return [each["Key"] for each in found]


@pytest.fixture
def machine(tmp_path, desk, aws, sandbox_none) -> Iterator[Machine]:
    leaves: dict[str, str] = {"instance-id": INSTANCE}
    service = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Metadata,), {"leaves": leaves}))
    threading.Thread(target=service.serve_forever, daemon=True).start()
    with closing(service.socket):
        it = Machine(
            folder=tmp_path / "state",
            desk=desk,
            endpoint_url=sandbox_none.endpoint_url,
            leaves=leaves,
            metadata=f"http://127.0.0.1:{service.server_address[1]}",
            schedule=record(store=f"s3://{desk.bucket}/team", considered_at=datetime.now(UTC)),
        )
        it.tags()
        yield it
        if it.process is not None and it.process.poll() is None:
            it.process.kill()
            it.process.communicate()
        service.shutdown()


@pytest.fixture
def group(aws) -> Iterator[str]:
    """What stands of the schedule in the cloud, as far as a machine asks for it."""
    name = names.group("digits")
    recurring.put_group(aws, name, {})
    like = recurring.Recurring(
        group=name,
        name="cron-1",
        expression="cron(0 3 ? * 2 *)",
        zone="UTC",
        role_arn=killswitch.role(aws),
        fleet={
            "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": names.TAG_CAUSE, "Value": "cron"}]}]
        },
    )
    recurring.put(aws, like)
    yield name
    recurring.remove_group(aws, name)


def test_a_turn(machine, aws):
    """Its switch is set before the job begins, and gone after; weights, log and ledger lie in S3.

    The time that it was launched for counts: no tick is missed for the minutes that its machine took to come up.
    """
    due_at = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=20)
    before = due_at - timedelta(minutes=1)
    machine.schedule = replace(machine.schedule, cron=f"{due_at:%M %H} * * *", considered_at=before, missed="skip")
    machine.tags(gpurun_cause="cron", gpurun_tick=f"{due_at:%Y-%m-%dT%H:%M:%SZ}")
    machine.nap_s = 2
    machine.start()
    machine.await_job()
    (switch,) = killswitch.find(aws)
    assert switch.instance_ids == (INSTANCE,)
    born = int((machine.folder / "born").read_text())
    assert switch.fires_at == datetime.fromtimestamp(born + HOURS * 3600, UTC)
    lease, given_back = machine.desk.newest()
    assert lease is not None
    assert (lease.holder, given_back) == (INSTANCE, False)
    status, said = machine.end()
    assert status == 0, said
    assert killswitch.find(aws) == []
    assert machine.desk.newest() == (lease, True)
    (tick,) = machine.ticks()
    assert (tick.status, tick.cause, tick.version) == (TickStatus.SUCCEEDED, "cron", "digits@1")
    assert tick.due_at == due_at
    run = f"{machine.desk.prefix}runs/{tick.run_id}"
    assert {f"{run}/w.npz", f"{run}/gpurun/log.txt", f"{run}/launcher.log"} <= set(machine.objects())
    assert "team/digits/champion/version.json" in machine.objects()


def test_nothing_is_due_and_the_switch_cannot_be_set(machine, torment):
    refused = {"error": "AccessDeniedException", "status": 403}
    torment.fault({"match": {"service": "scheduler"}, "effect": refused, "times": -1})
    machine.tags(gpurun_cause="cron", gpurun_tick="2026-11-21T12:00:00Z")
    status, said = machine.turn()
    assert status == 0
    assert "nothing is due" in said
    assert "no kill switch in the cloud" in said
    assert machine.ticks() == []
    assert not machine.begun.exists()


@pytest.fixture
def other(aws) -> Iterator[str]:
    """Another machine, which lives."""
    image = aws.ec2.describe_images()["Images"][0]["ImageId"]
    made = aws.ec2.run_instances(ImageId=image, InstanceType="t3.large", MinCount=1, MaxCount=1)
    yield made["Instances"][0]["InstanceId"]
    aws.ec2.terminate_instances(InstanceIds=[made["Instances"][0]["InstanceId"]])


def test_another_machine_has_it(machine, other):
    now = datetime.now(UTC)
    lease = machine.desk.take(other, "", now + timedelta(hours=1), now)
    before = machine.objects()
    status, said = machine.turn()
    assert status == 0
    assert f"{other} has the schedule until" in said
    assert machine.objects() == before
    assert machine.desk.newest() == (lease, False)


def test_a_machine_that_ec2_has_ended_has_nothing(machine, aws, other):
    now = datetime.now(UTC)
    lease = machine.desk.take(other, "", now + timedelta(hours=1), now)
    aws.ec2.terminate_instances(InstanceIds=[other])
    aws.ec2.get_waiter("instance_terminated").wait(InstanceIds=[other], WaiterConfig={"Delay": 1})
    status, said = machine.turn()
    assert status == 0
    assert "has the schedule until" not in said
    after, given_back = machine.desk.newest()
    assert (after.number, given_back) == (lease.number + 1, True)


def test_what_a_lost_machine_left_is_told(machine, tmp_path):
    found: list[RunId] = []

    def left(book: Ledger) -> None:
        now = datetime.now(UTC)
        run = RunRecord(
            run_id=RunId(new_run_id("digits")),
            name="digits",
            status=RunStatus.PLANNED,
            created_at=now,
            updated_at=now,
            account=account_to_text(Account()),
            region="us-east-1",
            spec="{}",
            results_dir="runs/x",
            token="token",
        )
        book.create(run)
        due_at = now - timedelta(hours=2)
        tick = book.ticks.take(
            Tick(schedule="digits", cause="cron", due_at=due_at, considered_at=due_at),
            Owner(pid=1, started="1"),
            due_at,
        )
        assert tick is not None
        book.ticks.launched(tick.tick_id, run.run_id)
        found.append(run.run_id)

    machine.seed(left)
    machine.tags(gpurun_cause="cron", gpurun_tick="2026-11-21T12:00:00Z")
    status, said = machine.turn()
    assert status == 0, said
    (tick,) = machine.ticks()
    assert tick.status is TickStatus.FAILED
    assert "its machine is gone" in tick.reason
    path = tmp_path / "after.db"
    books.bring(machine.desk.aws, machine.desk.bucket, machine.desk.prefix, path)
    with Ledger.open(path) as book:
        assert book.get(found[0]).status is RunStatus.FAILED


@pytest.mark.parametrize("max_restarts", [10, 0])
def test_taken_back_by_ec2(machine, aws, group, max_restarts):
    machine.nap_s, machine.max_restarts = 300, max_restarts
    machine.start()
    machine.await_job()
    ends_at = datetime.now(UTC) + timedelta(minutes=2)
    machine.leaves["spot/instance-action"] = json.dumps(
        {"action": "terminate", "time": f"{ends_at:%Y-%m-%dT%H:%M:%SZ}"}
    )
    status, said = machine.end()
    assert status == 1
    assert "EC2 takes this machine back: the job is stopped" in said
    (tick,) = machine.ticks()
    assert tick.status is TickStatus.CANCELLED
    assert tick.reason.startswith("EC2 took its spot machine back")
    asked = [each["Name"] for each in recurring.found(aws, group) if each["Name"].startswith("once-")]
    if not max_restarts:
        assert asked == []
        return
    assert "another machine is asked for" in said
    (name,) = asked
    there = recurring.get(aws, group, name)
    (tags,) = [each["Tags"] for each in json.loads(there["Target"]["Input"])["TagSpecifications"]]
    told = {tag["Key"]: tag["Value"] for tag in tags}
    assert told[names.TAG_CAUSE] == again.RETRY
    assert HOURS * 3600 - 120 < int(told[names.TAG_LEFT_S]) < HOURS * 3600


def test_where_no_metadata_service_answers(machine):
    machine.metadata = "http://127.0.0.1:9"
    status, said = machine.turn()
    assert status not in {0, 1} or "metadata service does not answer" in said
    assert "Traceback" not in said
    assert machine.objects() == []
