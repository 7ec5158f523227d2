"""The boot guard is run for real, by a real shell, with a `shutdown` of the test's own on PATH."""

import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from launcher import lifeline


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH whose `shutdown` writes down when and how it was called, and that has no systemd-run."""
    for name in ("sh", "date", "sleep", "setsid"):
        (tmp_path / name).symlink_to(subprocess.check_output(["which", name], text=True).strip())
    record = tmp_path / "shutdown"
    record.write_text(f'#!{tmp_path}/sh\necho "$(date +%s.%N) $*" >> {tmp_path}/calls\n')
    record.chmod(0o755)
    return tmp_path


def _boot(machine: Path, left_s: float) -> float:
    text = lifeline.user_data(
        deadline=datetime.now(UTC) + timedelta(seconds=left_s), host_key_private="PRIVATE", host_key_public="PUBLIC"
    )
    config = json.loads(text.removeprefix("#cloud-config\n"))
    began = time.time()
    subprocess.run(config["bootcmd"][0], env={"PATH": str(machine)}, check=True, timeout=10)
    return began


def _calls(machine: Path) -> list[str]:
    path = machine / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_a_deadline_that_has_passed_ends_the_machine_at_once(machine: Path):
    _boot(machine, -5)
    assert [call.split(" ", 1)[1] for call in _calls(machine)] == ["-h now"]


def test_the_guard_returns_at_once_and_powers_off_on_the_second(machine: Path):
    began = _boot(machine, 3)
    assert time.time() - began < 1.5
    assert _calls(machine)[0].split(" ", 1)[1].startswith("-h +1")
    while len(_calls(machine)) < 2 and time.time() - began < 8:
        os.sched_yield()
    stamp, words = _calls(machine)[1].split(" ", 1)
    assert words == "-h now"
    assert 1.5 < float(stamp) - began < 4.5


def test_the_guard_is_the_first_thing_and_the_host_key_is_ours():
    text = lifeline.user_data(deadline=datetime.now(UTC), host_key_private="PRIVATE\nKEY", host_key_public="PUBLIC")
    assert text.startswith("#cloud-config\n")
    config = json.loads(text.removeprefix("#cloud-config\n"))
    assert next(iter(config)) == "bootcmd"
    assert config["ssh_keys"] == {"ed25519_private": "PRIVATE\nKEY", "ed25519_public": "PUBLIC"}
    assert config["ssh_deletekeys"] is True


def test_user_data_is_yaml_to_a_yaml_reader():
    yaml = pytest.importorskip("yaml")
    text = lifeline.user_data(deadline=datetime.now(UTC), host_key_private="a\nb: c\n", host_key_public="x y")
    assert yaml.safe_load(text)["ssh_keys"]["ed25519_private"] == "a\nb: c\n"


def test_seconds_left_never_goes_below_zero():
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert lifeline.seconds_left(moment, moment + timedelta(hours=1)) == 0
    assert lifeline.seconds_left(moment + timedelta(seconds=90), moment) == 90
