"""A workstation that cannot be reached: waited for, never replaced, and never given up while its job may run."""

import os

import pytest

from tests.places.conftest import PATIENT, WHOLE, WORK


@pytest.fixture
def known_box(box, desk):
    """One whose key is in known_hosts."""
    box.known(desk)
    return box


def test_a_cut_line_is_mended_and_the_log_is_whole(desk, known_box) -> None:
    gate = desk.home / "gate"
    os.mkfifo(gate)
    launcher = desk.start("launch", "--on", known_box.on, desk.job(f"echo begun; cat {gate}; {WORK}"))
    desk.wait_for(lambda: "begun" in desk.stdout())
    _cut(known_box)
    desk.wait_for(lambda: "the line to the machine is gone" in desk.stderr())
    gate.write_text("")
    known_box.sshd.start()
    assert launcher.wait(60) == 0, desk.stderr()
    assert desk.stdout() == "begun\n" + WHOLE
    assert known_box.left() == []


def _cut(box) -> None:
    """The server gone with its connections, as behind a network that is; the job goes on."""
    for process in box.sshd.processes():
        if "sshd" in process.name():
            process.kill()
    box.sshd.process.wait()
    box.sshd.process = None
    (box.sshd.folder / "log").write_text("")


def test_lost_for_too_long_it_is_left_and_resumed_and_never_replaced(desk, known_box) -> None:
    launcher = desk.start("launch", "--on", known_box.on, "--lost-after", "1", desk.job(PATIENT))
    desk.wait_for(lambda: "begun" in desk.stdout())
    _cut(known_box)
    assert launcher.wait(90) == 5
    assert "127.0.0.1 has not answered for 1 s; what runs there goes on" in desk.stderr()
    run = desk.run()
    assert (run["status"], len(run["segments"])) == ("running", 1)
    assert "could not be asked" in run["note"]
    assert desk.gpurun("down", "last", "--yes", timeout_s=90).returncode == 5  # its job may still run there
    assert desk.run()["status"] == "terminating"
    known_box.sshd.start()
    assert desk.gpurun("down", "last", "--yes").returncode == 0
    assert desk.run()["status"] == "cancelled"
    assert known_box.left() == []


def test_a_machine_lost_after_its_job_is_resumed(desk, known_box) -> None:
    desk.gpurun("launch", "--on", known_box.on, "--detach", desk.job("echo w > $GPURUN_OUTPUT_DIR/w"))
    _cut(known_box)
    failed = desk.gpurun("resume", "last", "--lost-after", "1", timeout_s=90)
    assert failed.returncode == 5, failed.stderr
    assert desk.run()["status"] == "running"
    known_box.sshd.start()
    assert desk.gpurun("resume", "last").returncode == 0
    assert (desk.results() / "w").read_text() == "w\n"
    assert known_box.left() == []
