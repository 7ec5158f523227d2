"""What only loopback hosts must take care of: that the laptop is not theirs to end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import GpurunError
from launcher.sandbox import hosts
from launcher.sandbox.hosts.guest.cloudinit import Places, place_of
from launcher.sandbox.hosts.guest.marked import kill_marked


@pytest.fixture
def loopback(scratch: Path) -> Iterator[Any]:
    driver = hosts.choose("loopback", scratch / "state")
    yield driver
    driver.close()


@pytest.mark.parametrize("shell", ["bash -c", "bash -lc", "sh -lc"])
@pytest.mark.parametrize("name", ["shutdown", "poweroff", "reboot", "halt", "systemctl", "systemd-run", "sudo"])
def test_what_would_end_the_laptop_is_not_on_the_path(booted: Any, shared_bench: Any, shell: str, name: str) -> None:
    if shared_bench.kind != "loopback":
        pytest.skip("only of loopback hosts")
    assert booted.out(f"{shell} 'command -v {name}'").startswith(str(booted.machine.folder))


def test_says_that_it_does_not_isolate(loopback: Any) -> None:
    assert loopback.kind == "loopback"
    assert "files of this computer" in loopback.warning


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
