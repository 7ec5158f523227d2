"""Ctrl-C, SIGTERM and a closed terminal, on a real terminal, at each phase."""

import contextlib
import os
import signal
import sys

import pexpect
import pytest

WAITING = (
    "trap 'echo saved > $GPURUN_OUTPUT_DIR/checkpoint.txt; exit 0' TERM\necho begun\nwhile :; do sleep 0.05; done\n"
)
PHASES = ["provision", "boot", "connect", "sync", "run"]


def _on_a_terminal(laptop, *arguments: str) -> pexpect.spawn:
    return pexpect.spawn(
        sys.executable,
        ["-m", "launcher.cli", *arguments],
        cwd=str(laptop.work),
        env=laptop.environment | {"TERM": "xterm-256color", "NO_COLOR": "1"},
        encoding="utf-8",
        timeout=40,
        dimensions=(40, 200),
    )


def _status(process: pexpect.spawn) -> int:
    process.expect(pexpect.EOF)
    process.close()
    return process.exitstatus if process.exitstatus is not None else -process.signalstatus


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_asks_and_stop_leaves_nothing(laptop, phase):
    process = _on_a_terminal(laptop, "launch", "--sandbox", laptop.job(WAITING))
    laptop.wait_for_event("phase", name=phase)
    process.sendintr()
    process.expect(r"\[s\]top")
    process.sendline("s")
    assert _status(process) == 130
    assert laptop.living() == []
    assert laptop.runs()[0]["status"] == "cancelled"


def test_stop_lets_the_job_save_and_brings_it_home(laptop):
    process = _on_a_terminal(laptop, "launch", "--sandbox", laptop.job(WAITING))
    process.expect("begun")
    process.sendintr()
    process.expect(r"\[s\]top")
    process.sendline("s")
    assert _status(process) == 130
    (saved,) = laptop.work.glob("runs/*/checkpoint.txt")
    assert saved.read_text() == "saved\n"


def test_a_second_ctrl_c_ends_the_machine(laptop):
    stubborn = "trap '' TERM\necho begun\nwhile :; do sleep 0.05; done\n"
    process = _on_a_terminal(laptop, "launch", "--sandbox", laptop.job(stubborn))
    process.expect("begun")
    process.sendintr()
    process.expect(r"\[s\]top")
    process.sendintr()
    assert _status(process) == 130
    assert laptop.living() == []


def test_keep_goes_on_as_if_nothing_had_happened(laptop):
    job = laptop.job("echo begun; while [ ! -e go ]; do sleep 0.05; done; echo ended\n")
    process = _on_a_terminal(laptop, "launch", "--sandbox", job)
    process.expect("begun")
    process.sendintr()
    process.expect(r"\[k\]eep")
    process.sendline("k")
    laptop.wait_for(lambda: [kind for kind, _ in laptop.events()].count("job.started") == 1)
    run_id = laptop.runs()[0]["run_id"]
    assert laptop.gpurun("ssh", run_id, "--", "touch", f"gpurun/{run_id}/code/go").returncode == 0
    process.expect("ended")
    assert _status(process) == 0
    assert next(laptop.work.glob("runs/*/gpurun/log.txt")).read_text() == "begun\nended\n"


def test_detach_after_ctrl_c_leaves_the_job_running(laptop):
    process = _on_a_terminal(laptop, "launch", "--sandbox", laptop.job("echo begun; sleep 1; echo ended\n"))
    process.expect("begun")
    process.sendintr()
    process.expect(r"\[d\]etach")
    process.sendline("d")
    assert _status(process) == 0
    assert len(laptop.living()) == 1
    done = laptop.gpurun("resume")
    assert (done.returncode, laptop.living()) == (0, [])
    assert next(laptop.work.glob("runs/*/gpurun/log.txt")).read_text() == "begun\nended\n"


def test_a_closed_terminal_detaches_a_running_job(laptop):
    process = _on_a_terminal(laptop, "launch", "--sandbox", laptop.job("echo begun; sleep 1; echo ended\n"))
    process.expect("begun")
    with contextlib.suppress(pexpect.ExceptionPexpect):
        process.close(force=False)
    laptop.wait_for(lambda: laptop.runs()[0]["detached"])
    assert laptop.gpurun("resume").returncode == 0
    assert laptop.living() == []


def test_a_closed_terminal_before_the_job_ends_the_machine(laptop):
    process = _on_a_terminal(laptop, "launch", "--sandbox", laptop.job(WAITING))
    laptop.wait_for_event("fleet.intent")
    os.kill(process.pid, signal.SIGHUP)
    with contextlib.suppress(pexpect.ExceptionPexpect):  # it is still ending its machine when the terminal goes
        process.close(force=False)
    laptop.wait_for(lambda: laptop.runs()[0]["status"] == "cancelled")
    assert laptop.living() == []


def test_sigterm_stops_gently(laptop):
    process = laptop.start("launch", "--sandbox", laptop.job(WAITING))
    laptop.wait_for_event("phase", name="run")
    process.terminate()
    assert process.wait(30) == 130
    assert next(laptop.work.glob("runs/*/checkpoint.txt")).read_text() == "saved\n"
    assert laptop.living() == []
