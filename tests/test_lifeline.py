"""The boot guard is run for real, by a real shell, with a `shutdown` and a clock of the test's own on PATH."""

import json
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from launcher import lifeline

NOW = datetime.now(UTC)


class Machine:
    """A PATH whose `shutdown` writes down when and how it was called; no systemd runs, and the clock can be wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "bin"
        self.path.mkdir()
        for name in ("sh", "sleep", "setsid", "cat", "mkdir"):
            (self.path / name).symlink_to(subprocess.check_output(["which", name], text=True).strip())
        # It ends its caller as a power-off does, so that nothing of the guard stays behind.
        self.script(
            "shutdown", f'echo "$(/bin/date +%s.%N) $*" >> {folder}/calls; case $2 in now) kill -9 $PPID;; esac'
        )
        self.set_clock(0)

    def script(self, name: str, text: str) -> None:
        path = self.path / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!{self.path}/sh\n{text}\n")
        path.chmod(0o755)

    def set_clock(self, ahead_s: int) -> None:
        self.script("date", f"echo $(( $(/bin/date +%s) + {ahead_s} ))")

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def boot(self, left_s: float, asked_before_s: float = 0) -> float:
        """Boot with a deadline so far ahead, by the true clock, and asked for some time ago."""
        now = datetime.now(UTC)
        deadline = now + timedelta(seconds=left_s)
        return self.boot_until(deadline, now - timedelta(seconds=asked_before_s))

    def boot_until(self, deadline: datetime, asked_at: datetime) -> float:
        text = lifeline.user_data(
            deadline=deadline, asked_at=asked_at, host_key_private="PRIVATE", host_key_public="PUBLIC"
        )
        config = json.loads(text.removeprefix("#cloud-config\n"))
        began = time.time()
        environment = {"PATH": str(self.path), "STATE_DIRECTORY": str(self.state)}
        subprocess.run(config["bootcmd"][0], env=environment, check=True, timeout=10)
        return began

    def calls(self, *words: str) -> list[float]:
        """When `shutdown` was called with these words."""
        path = self.folder / "calls"
        lines = [line.split(" ", 1) for line in path.read_text().splitlines()] if path.exists() else []
        return [float(stamp) for stamp, rest in lines if rest.startswith(words)]

    def off_after(self, began: float, within_s: float) -> float:
        """Seconds until it powered off."""
        while not self.calls("-h now"):
            assert time.time() - began < within_s
            time.sleep(0.01)
        return self.calls("-h now")[0] - began


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_deadline_that_has_passed_ends_the_machine_at_once(machine: Machine):
    assert machine.off_after(machine.boot(-5), 2) < 1
    assert machine.calls("-h +") == []


def test_the_guard_returns_at_once_and_powers_off_on_the_second(machine: Machine):
    began = machine.boot(3)
    assert time.time() - began < 1.5
    assert 1.9 < machine.off_after(began, 8) < 4.5
    assert machine.calls("-h +1")


@pytest.mark.parametrize("ahead_s", [-300, 300])
def test_a_clock_that_is_five_minutes_off_moves_nothing(machine: Machine, ahead_s: int):
    machine.set_clock(ahead_s)
    assert 1.9 < machine.off_after(machine.boot(3), 8) < 4.5


def test_a_slow_boot_is_not_taken_for_a_fast_clock(machine: Machine):
    assert machine.off_after(machine.boot(2, asked_before_s=200), 8) < 3.5


@pytest.mark.parametrize("ahead_s", [-300, 0])
def test_a_reboot_keeps_the_deadline_whatever_the_clock_says(machine: Machine, ahead_s: int):
    machine.set_clock(ahead_s)
    machine.script("setsid", "")  # the first boot ends before its deadline, and its timers with it
    asked_at = datetime.now(UTC)
    deadline = asked_at + timedelta(seconds=4)
    began = machine.boot_until(deadline, asked_at)
    assert [path.name for path in machine.state.iterdir()] == [f"deadline-{int(deadline.timestamp()) + 1}"]
    time.sleep(1.5)  # the time of a reboot
    machine.script("setsid", 'exec "$@"')
    machine.boot_until(deadline, asked_at)
    assert 2.9 < machine.off_after(began, 8) < 5.5


def test_a_stamp_that_is_spoilt_counts_for_nothing(machine: Machine):
    deadline = datetime.now(UTC) + timedelta(seconds=3)
    machine.state.mkdir()
    (machine.state / f"deadline-{int(deadline.timestamp()) + 1}").write_bytes(b"\0\xff 12")
    assert machine.off_after(machine.boot_until(deadline, datetime.now(UTC)), 8) < 5


def test_without_a_place_for_the_stamp_the_nearer_time_counts(machine: Machine):
    machine.state.write_text("in the way")
    machine.set_clock(300)
    assert machine.off_after(machine.boot(60), 8) < 1


def test_systemd_is_given_a_timer_that_waits_for_nothing_in_the_boot(machine: Machine):
    """What it does was seen with systemd 252 as process 1; with its defaults the boot would wait for itself."""
    text = lifeline.user_data(deadline=NOW, host_key_private="", host_key_public="")
    guard = json.loads(text.removeprefix("#cloud-config\n"))["bootcmd"][0][2]
    machine.script("systemd-run", f'echo "$*" >> {machine.folder}/systemd')
    guard = guard.replace("/run/systemd/system", str(machine.folder))
    words = ["sh", "-c", guard, "gpurun-deadline", str(int(time.time()) + 2), "2"]
    began = time.time()
    subprocess.run(
        words, env={"PATH": str(machine.path), "STATE_DIRECTORY": str(machine.state)}, check=True, timeout=10
    )
    asked = (machine.folder / "systemd").read_text()
    assert "--no-block" in asked
    assert "--timer-property=DefaultDependencies=no" in asked
    assert "--timer-property=AccuracySec=1s" in asked
    assert machine.calls("-h +") == []  # it would power off at once, with no logind there yet
    assert machine.off_after(began, 8) < 4


def born(machine: Machine, hours: float) -> float:
    """Boot a machine that begins by itself."""
    began = time.time()
    command = lifeline.boot_commands_for(hours)[0]
    subprocess.run(
        command, env={"PATH": str(machine.path), "STATE_DIRECTORY": str(machine.state)}, check=True, timeout=10
    )
    return began


def test_one_that_begins_by_itself_ends_so_long_after_its_birth(machine: Machine):
    machine.script("date", "/bin/date +%s")
    began = born(machine, 2 / 3600)
    assert 0 <= int((machine.state / "born").read_text()) - began + 1 <= 2
    assert 1 <= machine.off_after(began, 6) <= 3.5


def test_a_reboot_gives_it_no_second_life(machine: Machine):
    machine.script("date", "/bin/date +%s")
    machine.state.mkdir()
    (machine.state / "born").write_text(f"{int(time.time()) - 100}\n")
    assert machine.off_after(born(machine, 50 / 3600), 3) < 2


def test_one_that_cannot_write_down_its_birth_ends_at_once(machine: Machine):
    machine.script("date", "/bin/date +%s")
    machine.state.write_text("no folder")
    assert machine.off_after(born(machine, 1.0), 3) < 2


def _stand_unclaimed(machine: Machine) -> float:
    """Boot with the guard of machines that nobody claims alone, its time cut short, its homes below the folder."""
    text = lifeline.user_data(deadline=NOW, host_key_private="", host_key_public="")
    *_, script, name, seconds = json.loads(text.removeprefix("#cloud-config\n"))["bootcmd"][1]
    assert float(seconds) == lifeline.UNCLAIMED_S
    words = ["sh", "-c", script.replace("/home/", f"{machine.folder}/home/"), name, "0.5"]
    began = time.time()
    subprocess.run(words, env={"PATH": str(machine.path)}, check=True, timeout=10)
    return began


@pytest.fixture
def guard_gone(machine: Machine):
    """Whatever a guard of this test still waits for, it is ended."""
    yield
    subprocess.run(["pkill", "-f", str(machine.folder)], check=False)


def test_a_machine_that_nobody_claims_goes(machine: Machine, guard_gone: None):
    machine.script("pgrep", "exit 1")
    assert machine.off_after(_stand_unclaimed(machine), 8) > 0.4


def test_one_that_is_being_filled_stays(machine: Machine, guard_gone: None):
    machine.script("pgrep", f'[ "$*" = "-f gpurun/[a]gent-" ] && echo asked >> {machine.folder}/asked')
    _stand_unclaimed(machine)
    while not (machine.folder / "asked").exists():
        time.sleep(0.01)
    time.sleep(0.3)  # it would follow at once
    assert machine.calls("-h now") == []


def test_one_where_a_job_was_started_keeps_its_deadline(machine: Machine, guard_gone: None):
    run = machine.folder / "home" / "ubuntu" / "gpurun" / "run-1"
    run.mkdir(parents=True)
    (run / "state").write_text("{}")
    machine.script("pgrep", "exit 1")
    _stand_unclaimed(machine)
    time.sleep(1.0)  # twice the guard's time
    assert machine.calls("-h now") == []
    assert subprocess.run(["pgrep", "-f", f"{machine.folder}/home"], check=False).returncode == 1


def test_one_that_cannot_look_for_processes_keeps_its_deadline(machine: Machine, guard_gone: None):
    _stand_unclaimed(machine)
    time.sleep(1.0)
    assert machine.calls("-h now") == []


def test_the_guard_is_the_first_thing_and_the_host_key_is_ours():
    text = lifeline.user_data(deadline=NOW, host_key_private="PRIVATE\nKEY", host_key_public="PUBLIC")
    assert text.startswith("#cloud-config\n")
    config = json.loads(text.removeprefix("#cloud-config\n"))
    assert next(iter(config)) == "bootcmd"
    assert config["ssh_keys"] == {"ed25519_private": "PRIVATE\nKEY", "ed25519_public": "PUBLIC"}
    assert config["ssh_deletekeys"] is True


def test_user_data_is_yaml_to_a_yaml_reader():
    yaml = pytest.importorskip("yaml")
    text = lifeline.user_data(deadline=NOW, host_key_private="a\nb: c\n", host_key_public="x y")
    assert yaml.safe_load(text)["ssh_keys"]["ed25519_private"] == "a\nb: c\n"


def test_the_same_asking_gives_the_same_user_data():
    def text(asked_at: datetime) -> str:
        deadline = NOW + timedelta(hours=1)
        return lifeline.user_data(deadline=deadline, asked_at=asked_at, host_key_private="a", host_key_public="b")

    assert text(NOW) == text(NOW)
    assert text(NOW) != text(NOW + timedelta(minutes=1))


def test_seconds_left_never_goes_below_zero():
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert lifeline.seconds_left(moment, moment + timedelta(hours=1)) == 0
    assert lifeline.seconds_left(moment + timedelta(seconds=90), moment) == 90
