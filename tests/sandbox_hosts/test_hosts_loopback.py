"""What only loopback hosts must take care of: that the laptop is not theirs to end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import GpurunError
from launcher.sandbox import hosts
from launcher.sandbox.hosts.guest.cloudinit import Places, place_of
from launcher.sandbox.hosts.guest.marked import kill_marked

NAMES = ("shutdown", "poweroff", "reboot", "halt", "systemctl", "systemd-run", "sudo")


def test_what_would_end_the_laptop_is_not_on_the_path(loopback: Any) -> None:
    booted = loopback.boot().wait()
    for shell in ("bash -c", "bash -lc", "sh -lc"):
        found = booted.out(f"{shell} 'for name in {' '.join(NAMES)}; do command -v $name; done'").split()
        assert found == [f"{booted.machine.folder}/shims/{name}" for name in NAMES]
    assert booted.ssh("systemd-run --on-active=1 true").returncode == 1


def test_says_that_it_does_not_isolate(loopback: Any) -> None:
    assert loopback.driver.kind == "loopback"
    assert "files of this computer" in loopback.driver.warning


def test_is_chosen_with_the_reason_where_namespaces_are_not_to_be_had(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    driver = hosts.choose("auto", scratch / "state")
    assert driver.kind == "loopback"
    assert "namespaces are Linux's" in driver.warning  # type: ignore[attr-defined]
    driver.close()
    with pytest.raises(GpurunError, match="namespaces are Linux's"):
        hosts.choose("namespaces", scratch / "state")


def test_files_of_the_user_data_stay_in_the_hosts_folder(tmp_path: Path) -> None:
    places = Places(
        metadata_address="127.0.0.1",
        metadata_port=1,
        root=tmp_path / "disk",
        home=tmp_path / "home",
        ssh=tmp_path / "ssh",
        state=tmp_path / "state",
        site_packages=(),
        owner=None,
    )
    assert place_of("/etc/x", places) == tmp_path / "disk/etc/x"
    assert place_of("/home/ubuntu/a/b", places) == tmp_path / "home/a/b"
    assert place_of("/home/ubuntu2", places) == tmp_path / "disk/home/ubuntu2"
    for climbing in ("/home/ubuntu/../../etc", "relative", "/.."):
        with pytest.raises(ValueError, match="absolute"):
            place_of(climbing, places)


def test_only_marked_processes_are_killed() -> None:
    marked = subprocess.Popen(["sleep", "600"], env={"GPURUN_SANDBOX_HOST": "/a/hosts/i-1"})
    others = [
        subprocess.Popen(["sleep", "600"], env={"GPURUN_SANDBOX_HOST": "/a/hosts/i-12"}),
        subprocess.Popen(["sleep", "600"], env={"OTHER": "GPURUN_SANDBOX_HOST=/a/hosts/i-1"}),
    ]
    kill_marked(lambda mark: mark == "/a/hosts/i-1")
    assert marked.wait(10) == -9
    for other in others:
        assert other.poll() is None
        other.kill()
        other.wait()
