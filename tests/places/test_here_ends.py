"""How a run on this machine ends: stopped, ended, detached, at its deadline, or kept where it cannot come home."""

import json
import os
import shutil
import signal
from pathlib import Path

from launcher import teardown
from launcher.aws.client import Aws
from launcher.commands import session
from launcher.domain import RunStatus
from tests.places.conftest import PATIENT


def test_ctrl_c_stops_the_job_and_brings_home_what_it_saved(desk) -> None:
    launcher = desk.start("launch", "--on", "local", desk.job(PATIENT))
    desk.wait_for(lambda: "begun" in desk.stdout())
    os.killpg(launcher.pid, signal.SIGINT)  # as a terminal does: to the whole group
    assert launcher.wait(30) == 130
    assert desk.run()["status"] == "cancelled"
    assert (desk.results() / "saved").read_text() == "saved\n"
    assert desk.here() == []
    desk.wait_for(lambda: not desk.processes(), 10)


def test_detached_it_is_seen_stopped_and_brought_home(desk) -> None:
    left = desk.gpurun("launch", "--on", "local", "--detach", desk.job(PATIENT))
    assert left.returncode == 0, left.stderr
    assert "the job on local ends at" in left.stderr
    assert "its job runs on local" in desk.run()["note"]
    desk.wait_for(lambda: "begun" in desk.gpurun("logs", "last").stdout)
    inside = desk.gpurun("ssh", "last", "--", "pwd; exit 4")
    assert (inside.returncode, Path(inside.stdout.strip()).name) == (4, desk.run()["run_id"])
    stopped = desk.gpurun("stop", "last")
    assert stopped.returncode == 0, stopped.stderr
    assert desk.run()["status"] == "cancelled"
    assert (desk.results() / "saved").read_text() == "saved\n"
    assert desk.here() == []
    over = desk.gpurun("ssh", "last", "--", "pwd")
    assert (over.returncode, over.stdout) == (5, "")
    assert "has no running machine" in over.stderr


def test_a_job_that_ended_while_nobody_watched_is_told_and_brought_home(desk) -> None:
    desk.gpurun("launch", "--on", "local", "--detach", desk.job("echo w > $GPURUN_OUTPUT_DIR/w; exit 2"))
    desk.wait_for(lambda: "has ended on local with status 2, and its results wait there" in desk.run()["note"])
    assert desk.gpurun("resume", "last", "--json").returncode == 2
    assert (desk.results() / "w").read_text() == "w\n"
    assert desk.here() == []


def test_down_kills_the_job_at_once_and_removes_its_folder(desk) -> None:
    launcher = desk.start("launch", "--on", "local", desk.job("trap '' TERM\necho begun\nwhile :; do sleep 0.05; done"))
    desk.wait_for(lambda: "begun" in desk.stdout())
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    assert desk.gpurun("down", "last").returncode == 2  # nobody is there to confirm the loss
    assert desk.here() != []
    done = desk.gpurun("down", "last", "--yes")
    assert done.returncode == 0, done.stderr
    assert desk.run()["status"] == "cancelled"
    assert desk.here() == []
    desk.wait_for(lambda: not desk.processes(), 10)


def test_a_failed_job_s_folder_is_kept_for_a_look_until_down(desk) -> None:
    (desk.work / "gpurun.yaml").write_text(
        "name: kept\nrun: echo w > $GPURUN_OUTPUT_DIR/w; exit 3\nkeep_on_failure: 30m\n"
    )
    done = desk.gpurun("launch", "--on", "local", "gpurun.yaml")
    assert done.returncode == 3
    assert "its folder there stays for a look" in done.stderr
    assert desk.here() == [desk.run()["run_id"]]
    assert desk.run()["next"] == f"gpurun down {desk.run()['run_id']}"
    assert desk.gpurun("down", "last").returncode == 0
    assert desk.run()["status"] == "failed"
    assert desk.here() == []


def test_the_deadline_ends_the_job_and_what_it_saved_is_home(desk) -> None:
    done = desk.gpurun("launch", "--on", "local", "--max-hours", "0.001", desk.job(PATIENT))
    assert done.returncode == 0, done.stderr
    assert "its time was up" in done.stderr
    assert (desk.results() / "saved").read_text() == "saved\n"
    assert desk.here() == []


def test_weights_are_fetched_while_the_job_runs(desk) -> None:
    save = "import numpy, os; numpy.savez(os.environ['GPURUN_CHECKPOINT_DIR'] + '/w.npz', a=numpy.ones(3))"
    desk.gpurun("launch", "--on", "local", "--detach", desk.job(f'python -c "{save}"; echo saved\n{PATIENT}'))
    desk.wait_for(lambda: "saved" in desk.gpurun("logs", "last").stdout)
    fetched = desk.gpurun("fetch-weights", "last", "--to", "mine")
    assert fetched.returncode == 0, fetched.stderr
    assert list((desk.work / "mine").rglob("w.npz"))
    assert desk.gpurun("down", "last", "--yes").returncode == 0


def test_folders_that_the_job_closed_to_itself_are_removed_too(desk) -> None:
    closed = "mkdir -p deep/er; touch deep/er/file deep/file; chmod 0 deep/er; chmod 500 deep"
    done = desk.gpurun("launch", "--on", "local", desk.job(closed))
    assert done.returncode == 0, done.stderr
    assert desk.here() == []


def test_what_cannot_come_home_stays_where_it_is(desk) -> None:
    gate = desk.home / "gate"
    os.mkfifo(gate)
    launcher = desk.start("launch", "--on", "local", desk.job(f"echo w > $GPURUN_OUTPUT_DIR/w; echo begun; cat {gate}"))
    desk.wait_for(lambda: "begun" in desk.stdout())
    results = desk.results()
    shutil.rmtree(results)
    results.write_text("in the way")
    gate.write_text("")
    assert launcher.wait(30) == 5, desk.stderr()
    assert desk.run()["status"] == "fetching"
    assert desk.here() == [desk.run()["run_id"]]
    results.unlink()
    desk.gpurun("resume", "last")
    assert (results / "w").read_text() == "w\n"
    assert desk.here() == []


def test_what_is_not_home_outlives_an_end_that_nobody_wished(desk, monkeypatch) -> None:
    desk.gpurun("launch", "--on", "local", "--detach", desk.job(f"echo w > $GPURUN_OUTPUT_DIR/w; {PATIENT}"))
    desk.wait_for(lambda: "begun" in desk.gpurun("logs", "last").stdout)
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, desk.environment[name])
    with session.ledger() as book, session.reporter() as reporter:
        live = session.live_run(book.resolve("last"), book, reporter)
        teardown.end(live, RunStatus.FAILED, reason="a bug of ours")
    run = desk.run()
    assert run["status"] == "failed"
    assert (desk.state.here / "gpurun" / run["run_id"] / "output" / "w").read_text() == "w\n"
    desk.wait_for(lambda: not desk.processes(), 10)  # its job is over all the same


def test_aws_may_be_named_too(desk, sandbox_none) -> None:
    desk.state.home.mkdir(parents=True)
    desk.state.sandbox.symlink_to(sandbox_none.state)
    done = desk.gpurun("launch", "--on", "aws", "--sandbox", "--dry-run", "--json", "--device", "cpu", desk.job("true"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["place"] == "aws"


def test_data_in_s3_is_asked_for_there_and_nowhere_else(desk, sandbox_none) -> None:
    s3 = Aws(sandbox_none.account).s3
    s3.create_bucket(Bucket="data-for-here")
    s3.put_object(Bucket="data-for-here", Key="set/digits.txt", Body=b"0123456789")
    account = {
        "AWS_CONFIG_FILE": str(sandbox_none.account.config_file),
        "AWS_SHARED_CREDENTIALS_FILE": str(sandbox_none.account.credentials_file),
        "AWS_PROFILE": str(sandbox_none.account.profile),
    }
    job = desk.job("cat $GPURUN_DATA_DIR/digits.txt")
    done = desk.gpurun("launch", "--on", "local", "--data", "s3://data-for-here/set", job, **account)
    assert (done.returncode, done.stdout) == (0, "0123456789"), done.stderr
    assert desk.here() == []
    lacking = desk.gpurun("launch", "--on", "local", "--data", "s3://data-for-here/set", job)
    assert lacking.returncode in {2, 3}
    assert "next: aws configure" in lacking.stderr
