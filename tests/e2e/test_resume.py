"""The launcher dies, the run does not: killed at many moments, resumed, detached, or left to its deadline."""

import json
import os
import shutil
import signal
import sqlite3

import pytest

from launcher.aws.client import Aws

WORK = "for i in $(seq 40); do echo line $i; sleep 0.02; done; echo weights > $GPURUN_OUTPUT_DIR/w.txt\n"
WHOLE = "".join(f"line {i}\n" for i in range(1, 41))

# (event, with which data): the moments at which the launcher is killed, in the order in which they come.
MOMENTS = [
    ("phase", {"name": "plan"}),
    ("network.intent", {}),
    ("fleet.intent", {}),
    ("instance", {}),
    ("phase", {"name": "boot"}),
    ("phase", {"name": "connect"}),
    ("phase", {"name": "sync"}),
    ("job.intent", {}),
    ("job.started", {}),
    ("phase", {"name": "run"}),
    ("job.done", {}),
    ("phase", {"name": "fetch"}),
    ("fetched", {}),
    ("ending", {}),
]


def _kill_at(laptop, kind: str, wanted: dict) -> None:
    process = laptop.start("launch", "--sandbox", laptop.job(WORK))
    laptop.wait_for_event(kind, **wanted)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(
    ("kind", "wanted"), MOMENTS, ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else value
)
def test_killed_at_any_moment_status_is_true_and_resume_brings_it_home(laptop, kind, wanted):
    _kill_at(laptop, kind, wanted)
    (run,) = laptop.runs()
    assert {instance["InstanceId"] for instance in laptop.living()} == set(run["instances"])
    if run["status"] not in {"succeeded", "failed", "cancelled"}:
        assert run["next"].split()[:2] == ["gpurun", "resume"]
        done = laptop.gpurun(*run["next"].split()[1:])
        assert done.returncode == 0, done.stderr
    (run,) = laptop.runs()
    assert run["status"] == "succeeded"
    results = laptop.work / "runs" / run["run_id"]
    assert (results / "w.txt").read_text() == "weights\n"
    assert (results / "gpurun" / "log.txt").read_text() == WHOLE
    assert laptop.living() == []


def test_logs_of_a_run_whose_launcher_was_killed_go_on_without_gap_or_repeat(laptop):
    _kill_at(laptop, "phase", {"name": "run"})
    done = laptop.gpurun("logs", "--follow")
    assert done.stdout == WHOLE
    assert laptop.gpurun("resume").returncode == 0


def test_detach_and_come_back(laptop):
    done = laptop.gpurun("launch", "--sandbox", "--detach", laptop.job(WORK))
    assert done.returncode == 0, done.stderr
    assert "gpurun resume" in done.stderr
    (run,) = laptop.runs()
    assert run["detached"]
    assert len(run["instances"]) == 1
    done = laptop.gpurun("resume", run["run_id"])
    assert (done.returncode, done.stdout) == (0, WHOLE), done.stderr
    assert laptop.living() == []


def test_two_launchers_never_drive_one_run(laptop):
    process = laptop.start("launch", "--sandbox", laptop.job("while [ ! -e stop ]; do sleep 0.05; done\n"))
    laptop.wait_for_event("job.started")
    done = laptop.gpurun("resume")
    assert done.returncode == 7
    assert str(process.pid) in done.stderr
    assert laptop.gpurun("stop").returncode == 0
    assert process.wait(30) == 130


def test_the_machine_ends_itself_at_its_deadline_with_the_launcher_dead(laptop):
    process = laptop.start("launch", "--sandbox", laptop.job("sleep 600\n"), "--max-hours", "0.004")
    laptop.wait_for_event("job.started")
    process.kill()
    process.wait()
    assert len(laptop.living()) == 1
    laptop.wait_for(lambda: not laptop.living(), timeout_s=40)
    (run,) = laptop.runs()
    assert "gone" in run["note"]
    assert laptop.gpurun(*run["next"].split()[1:]).returncode == 5
    (run,) = laptop.runs()
    assert run["status"] == "failed"
    assert "its time was up, by max_hours or max_cost" in run["reason"]


def test_gc_finds_and_removes_everything_with_the_ledger_deleted(laptop):
    _kill_at(laptop, "job.started", {})
    run_id = laptop.runs()[0]["run_id"]
    for path in laptop.state.home.glob("ledger.db*"):
        path.unlink()
    shutil.rmtree(laptop.state.runs)
    listed = json.loads(laptop.gpurun("gc", "--sandbox", "--json").stdout)
    kinds = {orphan["kind"] for orphan in listed["would_remove"] if orphan["run_id"] == run_id}
    assert {"instance", "security-group"} <= kinds
    done = laptop.gpurun("gc", "--sandbox", "--yes")
    assert done.returncode == 0, done.stderr
    mine = [{"Name": "tag:gpurun:run", "Values": [run_id]}]
    ec2 = Aws(laptop.cloud.account).ec2
    states = [
        instance["State"]["Name"]
        for reservation in ec2.describe_instances(Filters=mine)["Reservations"]
        for instance in reservation["Instances"]
    ]
    assert set(states) <= {"terminated"}
    assert ec2.describe_key_pairs(Filters=mine)["KeyPairs"] == []
    assert ec2.describe_launch_templates(Filters=mine)["LaunchTemplates"] == []
    assert ec2.describe_security_group_rules(Filters=mine)["SecurityGroupRules"] == []
    assert ec2.describe_security_groups(Filters=mine)["SecurityGroups"] == []


def test_gc_keeps_what_a_living_run_owns(laptop):
    process = laptop.start("launch", "--sandbox", laptop.job("while [ ! -e stop ]; do sleep 0.05; done\n"))
    laptop.wait_for_event("job.started")
    run_id = laptop.runs()[0]["run_id"]
    found = json.loads(laptop.gpurun("gc", "--sandbox", "--yes", "--json").stdout)
    assert run_id not in {orphan["run_id"] for orphan in found["removed"]}
    assert len(laptop.living()) == 1
    assert laptop.gpurun("stop").returncode == 0
    process.wait(30)


def test_fetch_weights_during_the_run_brings_the_latest_checkpoint(laptop):
    laptop.job(
        "import os, time, numpy\n"
        "folder = os.environ['GPURUN_CHECKPOINT_DIR']\n"
        "numpy.savez(folder + '/part.npz', w=numpy.ones(4)); os.rename(folder + '/part.npz', folder + '/latest.npz')\n"
        "print('saved', flush=True)\n"
        "while not os.path.exists('stop'): time.sleep(0.05)\n",
        "train.py",
    )
    process = laptop.start("launch", "--sandbox", "train.py", "--device", "cpu")
    laptop.wait_for(lambda: b"saved" in (laptop.home / "stdout").read_bytes())
    done = laptop.gpurun("fetch-weights", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["weights"]
    assert (row["values"], row["file"].rsplit("/", 1)[1]) == (4, "latest.npz")
    assert laptop.gpurun("down", "--yes").returncode == 0
    process.wait(30)
    assert laptop.living() == []


def test_the_ledger_survives_every_kill(laptop):
    _kill_at(laptop, "phase", {"name": "sync"})
    book = sqlite3.connect(laptop.state.ledger)
    assert book.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    book.close()
    assert laptop.gpurun("down", "--yes").returncode == 0
    assert laptop.living() == []
    assert os.listdir(laptop.state.runs / laptop.runs()[0]["run_id"]) in (["known_hosts"], ["log"], [])
