"""A run on a workstation that its owner reaches by SSH: everything but provisioning, and never shut down."""

import os
import signal

import pytest

from tests.places.conftest import PATIENT, WHOLE, WORK


@pytest.fixture
def known_box(box, desk):
    """One whose key is in known_hosts."""
    box.known(desk)
    return box


def test_results_come_home_and_the_machine_is_left_as_it_was(desk, known_box) -> None:
    done = desk.gpurun("launch", "--on", known_box.on, desk.job(WORK))
    assert (done.returncode, done.stdout) == (0, WHOLE), done.stderr
    run = desk.run()
    name = f"{known_box.sshd.user}@127.0.0.1"
    assert (run["status"], run["place"], run["instance_type"]) == ("succeeded", known_box.on, name)
    assert (run["market"], run["cost_usd"]) == ("yours", 0.0)
    assert (desk.results() / "w.txt").read_text() == "weights\n"
    assert known_box.left() == []
    supervisors = [each for each in known_box.sshd.processes() if "supervise" in " ".join(each.cmdline())]
    assert supervisors == []
    assert not known_box.off.exists()


def test_a_failed_job_powers_nothing_off_and_its_status_is_handed_through(desk, known_box) -> None:
    assert desk.gpurun("launch", "--on", known_box.on, desk.job("exit 9")).returncode == 9
    assert known_box.left() == []
    assert not known_box.off.exists()


def test_the_user_s_ssh_config_finds_it_by_name(desk, known_box) -> None:
    done = desk.gpurun("launch", "--on", "ssh://box", desk.job("echo there"))
    assert (done.returncode, done.stdout) == (0, "there\n"), done.stderr
    assert desk.run()["place"] == "ssh://box"


def test_through_a_jump_host_whose_key_is_known(desk, make_box) -> None:
    outer, inner = make_box(), make_box()
    outer.known(desk)
    config = desk.home / ".ssh" / "config"
    inside = f"Host inside\n    HostName 127.0.0.1\n    Port {inner.sshd.port}\n    IdentityFile {inner.sshd.key}\n"
    config.write_text(f"{inside}    ProxyJump box\n{config.read_text()}")
    refused = desk.gpurun("launch", "--on", "ssh://inside", desk.job("echo there"))
    assert refused.returncode == 5
    accept = _fingerprint(refused.stderr)
    done = desk.gpurun("launch", "--on", "ssh://inside", "--accept-host-key", accept, "job.sh")
    assert (done.returncode, done.stdout) == (0, "there\n"), done.stderr
    assert "Accepted publickey" in outer.sshd.log


def _fingerprint(text: str) -> str:
    return next(word for word in text.split() if word.startswith("SHA256:")).rstrip(".,")


def test_killed_and_resumed(desk, known_box) -> None:
    launcher = desk.start("launch", "--on", known_box.on, desk.job(WORK))
    desk.wait_for_event("phase", name="run")
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    assert desk.gpurun("resume", "last").returncode == 0
    assert (desk.results() / "gpurun" / "log.txt").read_text() == WHOLE
    assert known_box.left() == []


def test_ctrl_c_stops_and_saves(desk, known_box) -> None:
    launcher = desk.start("launch", "--on", known_box.on, desk.job(PATIENT))
    desk.wait_for(lambda: "begun" in desk.stdout())
    os.killpg(launcher.pid, signal.SIGINT)
    assert launcher.wait(30) == 130
    assert (desk.results() / "saved").read_text() == "saved\n"
    assert known_box.left() == []
    assert not known_box.off.exists()


def test_detached_it_is_looked_at_by_ssh_and_ended(desk, known_box) -> None:
    assert desk.gpurun("launch", "--on", known_box.on, "--detach", desk.job(PATIENT)).returncode == 0
    assert "its job runs on" in desk.run()["note"]
    inside = desk.gpurun("ssh", "last", "--", "echo $HOME; exit 4")
    assert (inside.returncode, inside.stdout) == (4, f"{known_box.sshd.home}\n"), inside.stderr
    assert desk.gpurun("down", "last", "--yes").returncode == 0
    assert desk.run()["status"] == "cancelled"
    assert known_box.left() == []
    assert not known_box.off.exists()


def test_gc_has_no_eye_for_it(desk, known_box, sandbox_none) -> None:
    desk.gpurun("launch", "--on", known_box.on, "--detach", desk.job(PATIENT))
    desk.state.sandbox.symlink_to(sandbox_none.state)
    done = desk.gpurun("gc", "--sandbox", "--yes", "--all")
    assert done.returncode == 0, done.stderr
    assert desk.run()["status"] == "running"
    assert known_box.left() == [desk.run()["run_id"]]
    assert desk.gpurun("stop", "last").returncode == 0
