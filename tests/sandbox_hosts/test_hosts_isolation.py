"""What a job in a namespace host cannot see, change or outlive."""

from __future__ import annotations

import dataclasses
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.namespaces


def test_the_laptops_files_are_not_there(isolating: Any, scratch: Path) -> None:
    secret = scratch / "secret"
    secret.write_text("of the laptop")
    secret.chmod(0o644)
    booted = isolating.boot().wait()
    for path in (secret, Path.home() / ".bashrc", Path(__file__), isolating.state):
        assert booted.ssh(f"test -e '{path}'").returncode == 1, path
    assert booted.out("cat /etc/shadow 2>/dev/null | grep -cv ':[*]:' || true") == "0"
    tops = set(booted.out("ls -A / /home /root /mnt /media /srv /tmp /var/lib /var/tmp").split())
    assert "ubuntu" in tops
    strange = {path.name for path in Path("/").iterdir()} - _standard() - _parents_of_python()
    assert not tops & strange


def _standard() -> set[str]:
    names = "bin boot dev etc home lib lib32 lib64 libx32 media mnt opt proc root run sbin srv sys tmp usr var"
    return set(names.split())


def _parents_of_python() -> set[str]:
    return {Path(path).parts[1] for path in (sys.prefix, sys.base_prefix)}


def test_the_laptops_files_cannot_be_changed(isolating: Any) -> None:
    booted = isolating.boot({"runcmd": ["echo gone > /etc/gpurun-test; echo gone > /usr/local/bin/gpurun-test"]})
    booted.wait().finished()
    assert booted.ssh("sudo touch /opt/tensorflow/written").returncode != 0
    assert booted.ssh(f"sudo touch {sys.prefix}/written").returncode != 0
    assert booted.out("cat /etc/gpurun-test /usr/local/bin/gpurun-test") == "gone\ngone"
    for path in ("/etc/gpurun-test", "/usr/local/bin/gpurun-test", f"{sys.prefix}/written"):
        assert not Path(path).exists()


def test_processes_and_network_are_its_own(isolating: Any) -> None:
    one, two = isolating.boot().wait(), isolating.boot().wait()
    one.out("sleep 44556 </dev/null >/dev/null 2>&1 &")
    assert "44556" in one.out("ps ax -o args")
    assert "44556" not in two.out("ps ax -o args")
    assert two.out("hostname") == two.machine.hostname
    with socket.create_server(("127.0.0.1", 0)) as service:
        connect = f"(echo >/dev/tcp/127.0.0.1/{service.getsockname()[1]}) 2>/dev/null"
        assert one.ssh(connect).returncode != 0
    other = f"(echo >/dev/tcp/{two.machine.private_address}/22) 2>/dev/null"
    assert one.ssh(other).returncode != 0


def test_no_privilege_is_left_to_the_user(isolating: Any) -> None:
    booted = isolating.boot().wait()
    assert booted.out("id -u") == "1000"
    assert booted.out("grep CapEff /proc/self/status").split()[1].strip("0") == ""
    assert booted.ssh("mount -t tmpfs none /mnt").returncode != 0
    assert booted.ssh("echo b > /proc/sysrq-trigger; echo 1 > /proc/sys/kernel/panic").returncode != 0


def test_sudo_makes_root_of_the_host_and_of_nothing_else(isolating: Any) -> None:
    booted = isolating.boot().wait()
    assert booted.out("sudo -n id -u; sudo -n -u ubuntu id -u") == "0\n1000"
    assert booted.out("cd /tmp && umask 027 && A=1 sudo -n B=2 -- sh -c 'echo $A $B $HOME $PWD; umask; cat' <<<in") == (
        "1 2 /root /tmp\n0027\nin"
    )
    assert booted.ssh("sudo -n sh -c 'exit 7'").returncode == 7
    assert booted.ssh("sudo -n no-such-program").returncode == 1
    assert booted.ssh("sudo -n mount -t tmpfs none /mnt").returncode != 0
    assert booted.ssh("sudo -n sh -c 'echo b > /proc/sysrq-trigger; echo 1 > /proc/sys/kernel/panic'").returncode != 0
    booted.out("sudo -n sh -c 'umask 077; echo mine > /opt/of-root'")
    assert booted.ssh("cat /opt/of-root").returncode != 0 or isolating.kind == "rootless"
    assert booted.out("sudo -n cat /opt/of-root") == "mine"


def test_what_sudo_runs_ends_with_its_caller(isolating: Any) -> None:
    booted = isolating.boot().wait()
    booted.out("sudo -n sleep 44557 </dev/null >/dev/null 2>&1 & sleep 0.3; kill %1; true")
    isolating.until(lambda: not isolating.running("sleep 44557"), "its end")


def test_the_pure_python_server_serves_where_openssh_is_missing(
    isolating: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = isolating.driver
    monkeypatch.setattr(driver, "_image", dataclasses.replace(driver._image, sshd=None))
    booted = isolating.boot().wait()
    assert booted.out("id -un; pwd") == "ubuntu\n/home/ubuntu"
    assert "sshd:" not in booted.out("ps ax -o args")
