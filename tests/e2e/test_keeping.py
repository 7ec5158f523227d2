"""What must not be lost, and what must not be left, where something else goes wrong as well."""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

WAITING = "trap 'echo saved > $GPURUN_OUTPUT_DIR/saved.txt; exit 0' TERM\necho begun\nwhile :; do sleep 0.05; done\n"
STUBBORN = "trap '' TERM; echo begun; while :; do sleep 0.05; done\n"


def test_a_stop_whose_results_cannot_come_home_leaves_the_machine_to_wait(laptop):
    process = laptop.start("launch", "--sandbox", laptop.job(WAITING))
    laptop.wait_for_event("phase", name="run")
    results = laptop.work / "runs" / laptop.runs()[0]["run_id"]
    results.rmdir()
    results.write_text("in the way")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 5, laptop.stderr()
    assert len(laptop.living()) == 1
    results.unlink()
    assert laptop.gpurun("resume").returncode == 0
    assert (results / "saved.txt").read_text() == "saved\n"
    assert laptop.living() == []


def test_the_jobs_names_are_the_jobs(laptop):
    job = laptop.job(
        "cd $GPURUN_OUTPUT_DIR; echo mine > gpurun; echo mine > checkpoint; echo c > $GPURUN_CHECKPOINT_DIR/c\n"
    )
    done = laptop.gpurun("launch", "--sandbox", job)
    assert done.returncode == 0, done.stderr
    results = laptop.work / "runs" / laptop.runs()[0]["run_id"]
    assert (results / "gpurun").read_text() == (results / "checkpoint").read_text() == "mine\n"
    assert (results / "gpurun-run" / "checkpoint" / "c").read_text() == "c\n"
    assert (results / "gpurun-run" / "receipt.json").exists()


def test_a_failed_jobs_machine_is_kept_as_long_as_asked_and_no_longer(laptop):
    (laptop.work / "gpurun.yaml").write_text("run: exit 3\ndevice: cpu\nkeep_on_failure: 12s\n")
    done = laptop.gpurun("launch", "--sandbox")
    assert done.returncode == 3
    assert "gpurun down" in done.stderr
    assert len(laptop.living()) == 1
    laptop.wait_for(lambda: not laptop.living(), timeout_s=40)
    assert laptop.gpurun("resume").returncode == 3
    assert laptop.runs()[0]["status"] == "failed"


def test_down_ends_a_run_that_another_process_attends(laptop):
    process = laptop.start(
        "launch", "--sandbox", laptop.job("trap '' TERM; echo begun; while :; do sleep 0.05; done\n")
    )
    laptop.wait_for_event("phase", name="run")
    assert laptop.gpurun("down", "--yes").returncode == 0
    assert process.wait(30) == 130
    assert laptop.living() == []
    assert laptop.runs()[0]["status"] == "cancelled"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_standard_output_does_not_end_the_run(laptop):
    job = laptop.job("seq 20000; echo w > $GPURUN_OUTPUT_DIR/w.txt\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*laptop.command, "launch", "--sandbox", job],
            cwd=laptop.work,
            env=laptop.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert next(laptop.work.glob("runs/*/w.txt")).exists()
    assert next(laptop.work.glob("runs/*/gpurun/log.txt")).read_text().endswith("\n20000\n")


def test_nohup_survives_the_terminal(laptop):
    job = laptop.job("echo begun; while [ ! -e go ]; do sleep 0.05; done; echo ended\n")
    process = subprocess.Popen(
        ["nohup", *laptop.command, "launch", "--sandbox", job],
        cwd=laptop.work,
        env=laptop.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    laptop.started.append(process)
    laptop.wait_for_event("phase", name="run")
    process.send_signal(signal.SIGHUP)
    run_id = laptop.runs()[0]["run_id"]
    assert laptop.gpurun("ssh", run_id, "--", f"cd gpurun/{run_id}/code && touch go").returncode == 0
    assert process.wait(30) == 0
    assert laptop.runs()[0]["status"] == "succeeded"


def test_private_keys_beside_the_script_stay_at_home(laptop):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(laptop.work / "mykey")], check=True)
    shutil.copy(laptop.work / "mykey", laptop.work / "aws.pem")
    done = laptop.gpurun("launch", "--sandbox", laptop.job("ls\n"))
    assert done.stdout.split() == ["job.sh", "mykey.pub"]
    assert "a private key never goes up" in done.stderr


def test_results_that_can_come_home_nowhere_are_told_before_anything_is_bought(laptop):
    (laptop.work / "file").write_text("")
    done = laptop.gpurun("launch", "--sandbox", laptop.job("true\n"), "--outputs", "file/below")
    assert done.returncode == 2
    assert "file" in done.stderr
    assert laptop.runs() == []
