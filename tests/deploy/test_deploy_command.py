"""What `gpurun schedule` says of schedules that keep their time in the cloud, to good and to bad wishes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from launcher import cli
from launcher.aws import recurring
from launcher.deploy import books
from launcher.deploy.lease import Desk
from launcher.ledger import Ledger, Owner, Tick, TickStatus
from launcher.owner import TAG_OWNER
from launcher.paths import StatePaths, state_home
from launcher.schedule import deployed

ADD = ("add", "digits", "job.yaml", "--sandbox", "--cron", "0 3 * * 1", "--tz", "UTC")
READS = ("Describe", "Get", "List", "GET ", "HEAD ")
ME = Owner(pid=1, started="1")


class Laptop:
    """Commands as their user types them, in this process."""

    def __init__(self, bench, capsys) -> None:
        self.bench, self._capsys = bench, capsys
        self.store = f"s3://{bench.bucket}/w"

    def schedule(self, *arguments: str) -> tuple[int, str, str]:
        status = cli.run(["schedule", *arguments])
        told = self._capsys.readouterr()
        return status, told.out, told.err

    def done(self, *arguments: str) -> str:
        status, out, err = self.schedule(*arguments)
        assert status == 0, err
        return out

    def refused(self, *arguments: str) -> str:
        status, out, err = self.schedule(*arguments)
        assert status == 2, out + err
        assert "next: " in err
        assert "Traceback" not in err
        return err

    def add(self, *more: str) -> None:
        self.done(*ADD, "--store", self.store, *more)

    def book(self) -> Ledger:
        return Ledger.open(StatePaths(state_home()).ledger)

    def change(self, **options: str) -> None:
        """Have the ledger say otherwise."""
        with self.book() as book:
            schedule = book.schedules.get("digits")
            mark = deployed.of(schedule)
            assert mark is not None
            told = {"region": mark.region, "at": mark.at, "uri": mark.uri} | options
            book.schedules.renew(deployed.marked(schedule, deployed.Deployed(**told)))

    @property
    def desk(self) -> Desk:
        return Desk(aws=self.bench.aws, bucket=self.bench.bucket, prefix="w/.schedules/digits/")

    def cloud_book(self, fill) -> None:
        """Change the ledger that the schedule's machines keep, as one of them does."""
        path = self.bench.folder / "there.db"
        number = books.bring(self.bench.aws, self.bench.bucket, self.desk.prefix, path)
        assert number is not None
        with Ledger.open(path) as book:
            fill(book)
        books.keep(self.bench.aws, self.bench.bucket, self.desk.prefix, path, number + 1)


@pytest.fixture
def laptop(bench, sandbox_none, tmp_path, monkeypatch, capsys) -> Laptop:
    """A project, and a state folder whose sandbox is the test session's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    state = StatePaths(state_home())
    state.home.mkdir(parents=True, mode=0o700)
    state.sandbox.symlink_to(sandbox_none.state)
    work = tmp_path / "project"
    (work / "job.yaml").write_text("name: digits\nrun: python3 train.py\ndata: rows\ndevice: cpu\n")
    monkeypatch.chdir(work)
    return Laptop(bench, capsys)


@pytest.fixture
def standing(laptop) -> Laptop:
    laptop.add()
    laptop.done("deploy", "digits", "--yes")
    return laptop


def ended(book: Ledger, moment: datetime, version: str) -> None:
    tick = book.ticks.take(Tick(schedule="digits", cause="cron", due_at=moment, considered_at=moment), ME, moment)
    assert tick is not None
    assert book.ticks.end(tick, TickStatus.SUCCEEDED, "promoted", moment, version=version)


@pytest.mark.parametrize(
    ("arguments", "job", "told"),
    [
        (("--store", "STORE", "--on", "local", "--cron", "0 3 * * 1"), "", "runs on local"),
        (("--store", "FOLDER", "--sandbox", "--cron", "0 3 * * 1"), "", "which no machine of AWS can reach"),
        (("--store", "STORE", "--sandbox", "--cron", "0 3 * * 1"), "secrets: [TOKEN]\n", "secrets: TOKEN"),
        (("--store", "STORE", "--sandbox", "--on-data-change", "rows"), "", "waits for new data alone"),
        (("--store", "STORE", "--sandbox", "--cron", "0 0 LW * *"), "", "no last weekday"),
        (("--store", "STORE", "--sandbox", "--cron", "0 0 */2 * 1"), "", "cannot say"),
        (("--store", "STORE", "--sandbox", "--cron", "0 3 * * 1"), "limits: {max_cost: 0.001}\n", "buys"),
        (
            ("--store", "s3://no-such-bucket-of-ours/w", "--sandbox", "--cron", "0 3 * * 1"),
            "",
            "no-such-bucket-of-ours",
        ),
    ],
)
def test_bad_wishes(laptop, arguments, job, told, monkeypatch):
    monkeypatch.setenv("TOKEN", "secret")
    with Path("job.yaml").open("a") as file:
        file.write(job)
    places = {"STORE": laptop.store, "FOLDER": "weights"}
    laptop.done("add", "digits", "job.yaml", *(places.get(each, each) for each in arguments))
    before = laptop.bench.standing()
    status, _, err = laptop.schedule("deploy", "digits", "--yes")
    assert status != 0
    assert told in err
    assert "next: " in err
    assert laptop.bench.standing() == before


def test_a_schedule_that_is_not_there(laptop):
    assert "no schedule 'x'" in laptop.refused("deploy", "x", "--yes")
    assert "no schedule 'x'" in laptop.refused("undeploy", "x", "--yes")


def test_nobody_is_there_to_be_asked(laptop):
    laptop.add()
    assert "--print" in laptop.refused("deploy", "digits")
    assert laptop.bench.standing() == []
    with laptop.book() as book:
        assert deployed.of(book.schedules.get("digits")) is None


def test_while_a_run_of_it_goes_on_here(laptop):
    laptop.add()
    now = datetime.now(UTC)
    with laptop.book() as book:
        assert book.ticks.take(Tick(schedule="digits", cause="now", due_at=now, considered_at=now), ME, now)
    assert "a run of digits goes on here" in laptop.refused("deploy", "digits", "--yes")
    assert laptop.bench.standing() == []


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_print_makes_nothing(laptop, torment, more):
    laptop.add()
    torment.clear_journal()
    out = laptop.done("deploy", "digits", "--print", *more)
    asked = [each["action"] for each in torment.journal() if each["service"] not in {"sts", "ssm"}]
    assert asked
    assert [each for each in asked if not each.startswith(READS)] == []
    assert laptop.bench.standing() == []
    if more:
        parts = json.loads(out)["parts"]
        kinds = [each["kind"] for each in parts]
        assert kinds.count("IAM role") == 2
        assert kinds.count("S3 object") == 3
        (template,) = [each["content"] for each in parts if each["kind"] == "EC2 launch template"]
        assert template["UserData"][0] == "#cloud-config"
    else:
        assert "cron(0 3 ? * 2 *)" in out
        assert "USD at most" in out


def test_deployed_told_and_undone(laptop):
    laptop.add()
    out = laptop.done("deploy", "digits", "--yes")
    assert "it fires with this computer off" in out
    (each,) = json.loads(laptop.done("list", "--json"))
    assert each["name"] == "digits"
    assert "remove" not in laptop.done("show", "digits")
    assert "is deployed" in laptop.refused("remove", "digits")
    assert "run-due" not in laptop.done("list")
    undone = laptop.done("undeploy", "digits", "--yes")
    assert "digits is not deployed any more" in undone
    kept = [name for kind, name in laptop.bench.standing() if kind != "object"]
    assert kept == []
    laptop.done("undeploy", "digits", "--yes")
    laptop.done("remove", "digits")


def test_json_of_each(laptop):
    laptop.add()
    *before, done = map(json.loads, laptop.done("deploy", "digits", "--yes", "--json").splitlines())
    assert {each["event"] for each in before} == {"note"}
    assert (done["name"], done["deployed"], done["region"]) == ("digits", True, "us-east-1")
    asked = json.loads(laptop.done("run-now", "digits", "--json"))
    assert (asked["event"], asked["schedule"]) == ("asked", "digits")
    assert json.loads(laptop.done("history", "digits", "--json")) == []
    undone = json.loads(laptop.done("undeploy", "digits", "--yes", "--json"))
    assert (undone["name"], undone["deployed"]) == ("digits", False)
    assert undone["removed"]


def test_run_now_pause_and_resume_are_the_clouds(standing):
    aws, group = standing.bench.aws, "gpurun-schedule-digits"
    standing.done("pause", "digits")
    assert recurring.get(aws, group, "cron-1")["State"] == "DISABLED"
    standing.done("resume", "digits")
    assert recurring.get(aws, group, "cron-1")["State"] == "ENABLED"
    assert "a machine is launched in us-east-1" in standing.done("run-now", "digits")
    recurring.remove_group(aws, group)
    assert "does not stand in us-east-1 any more" in standing.refused("pause", "digits")
    status, _, err = standing.schedule("run-now", "digits")
    assert status != 0
    assert "any more" in err


def test_the_laptops_own_clock_leaves_it_alone(standing):
    long_ago = datetime.now(UTC) - timedelta(days=30)
    with standing.book() as book:
        book.schedules.considered("digits", long_ago)
    assert standing.done("run-due", "--json") == ""
    with standing.book() as book:
        assert book.ticks.list("digits") == ()


def test_history_is_the_clouds_and_comes_home(standing):
    moment = datetime.now(UTC)
    standing.cloud_book(lambda book: ended(book, moment, "digits@7"))
    (tick,) = json.loads(standing.done("history", "digits", "--json"))
    assert (tick["version"], tick["status"]) == ("digits@7", "succeeded")
    with standing.book() as book:
        assert book.ticks.list("digits") == ()
    standing.done("undeploy", "digits", "--yes")
    with standing.book() as book:
        assert [each.version for each in book.ticks.list("digits")] == ["digits@7"]
    standing.done("deploy", "digits", "--yes")
    assert [each["version"] for each in json.loads(standing.done("history", "digits", "--json"))] == ["digits@7"]


def test_silence_is_told(standing):
    _, _, err = standing.schedule("history", "digits")
    assert "warning" not in err
    long_ago = datetime.now(UTC) - timedelta(days=15)
    standing.change(at=long_ago.isoformat())
    standing.cloud_book(lambda book: book.schedules.considered("digits", long_ago))
    _, _, err = standing.schedule("history", "digits")
    assert "2 fire times have passed" in err
    assert "boots/" in err
    standing.done("pause", "digits")
    _, _, err = standing.schedule("history", "digits")
    assert "warning" not in err


def test_another_stores_deployment_of_the_same_name(standing, monkeypatch, tmp_path, sandbox_none):
    before = standing.bench.standing()
    other = tmp_path / "other"
    monkeypatch.setenv("XDG_STATE_HOME", str(other))
    state = StatePaths(state_home())
    state.home.mkdir(parents=True, mode=0o700)
    state.sandbox.symlink_to(sandbox_none.state)
    standing.done(*ADD, "--store", f"s3://{standing.bench.bucket}/another")
    for command in ("deploy", "undeploy"):
        assert "keeps its weights in" in standing.refused(command, "digits", "--yes")
    assert standing.bench.standing() == before
    with standing.book() as book:
        assert deployed.of(book.schedules.get("digits")) is None


def test_machines_carry_no_laptops_name(standing):
    (template,) = standing.bench.aws.ec2.describe_launch_templates()["LaunchTemplates"]
    versions = standing.bench.aws.ec2.describe_launch_template_versions(LaunchTemplateId=template["LaunchTemplateId"])
    data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    tags = {tag["Key"]: tag["Value"] for tag in data["TagSpecifications"][0]["Tags"]}
    assert tags[TAG_OWNER] == "schedule:digits"


def test_undeploy_of_what_this_computer_never_knew(standing, monkeypatch, tmp_path, sandbox_none):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "fresh"))
    state = StatePaths(state_home())
    state.home.mkdir(parents=True, mode=0o700)
    state.sandbox.symlink_to(sandbox_none.state)
    assert "--store s3://BUCKET/PREFIX" in standing.refused("undeploy", "digits", "--yes")
    assert standing.bench.standing()
    told = standing.done("undeploy", "digits", "--store", f"{standing.store}/", "--sandbox", "--yes")
    assert "is not deployed any more" in told
    assert {kind for kind, _ in standing.bench.standing()} == {"object"}


def test_without_its_bucket_it_can_be_stopped(standing):
    s3 = standing.bench.aws.s3
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=standing.bench.bucket):
        for each in page.get("Contents", []):
            s3.delete_object(Bucket=standing.bench.bucket, Key=each["Key"])
    s3.delete_bucket(Bucket=standing.bench.bucket)
    try:
        standing.done("pause", "digits")
        _, _, err = standing.schedule("history", "digits")
        assert "there is no bucket" in err
        status, out, err = standing.schedule("undeploy", "digits", "--yes")
        assert status == 0, err
        assert "there is no bucket" in err
        assert "removed: the schedule" in out
    finally:
        s3.create_bucket(Bucket=standing.bench.bucket)
    assert standing.bench.standing() == []


def test_while_a_machine_is_at_work(standing):
    image = standing.bench.aws.ec2.describe_images()["Images"][0]["ImageId"]
    made = standing.bench.aws.ec2.run_instances(ImageId=image, InstanceType="t3.large", MinCount=1, MaxCount=1)
    machine = made["Instances"][0]["InstanceId"]
    now = datetime.now(UTC)
    try:
        standing.desk.take(machine, "", now + timedelta(hours=1), now)
        assert f"{machine} is at work" in standing.refused("run-now", "digits")
        standing.cloud_book(
            lambda book: book.ticks.take(Tick(schedule="digits", cause="cron", due_at=now, considered_at=now), ME, now)
        )
        standing.done("undeploy", "digits", "--yes")
        (tick,) = json.loads(standing.done("history", "digits", "--json"))
        assert (tick["status"], tick["reason"]) == ("cancelled", "ended by gpurun schedule undeploy")
    finally:
        standing.bench.aws.ec2.terminate_instances(InstanceIds=[machine])


def test_an_archive_that_was_damaged_is_sent_again(standing):
    s3, bucket = standing.bench.aws.s3, standing.bench.bucket
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="w/.schedules/digits/work-")["Contents"]
    key, size = listed[0]["Key"], listed[0]["Size"]
    whole = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=b"x" * size)
    standing.done("deploy", "digits", "--yes")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == whole


def test_secrets_of_notices_do_not_lie_in_the_ledger_in_s3(laptop):
    laptop.add("--metric", "test_error", "--notify", "json://SECRETTOKEN@localhost")
    laptop.done("deploy", "digits", "--yes")
    s3, bucket = laptop.bench.aws.s3, laptop.bench.bucket
    ledgers = s3.list_objects_v2(Bucket=bucket, Prefix="w/.schedules/digits/ledgers/")["Contents"]
    assert ledgers
    for each in ledgers:
        assert b"SECRETTOKEN" not in s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
