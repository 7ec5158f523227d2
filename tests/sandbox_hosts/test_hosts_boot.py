"""What a host does from its first moment to its last, whatever its kind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from launcher.errors import GpurunError
from launcher.sandbox import hosts
from launcher.sandbox.machine import Ending


def test_shows_the_injected_host_key_and_lets_in_the_ec2_key(every_bench: Any) -> None:
    booted = every_bench.boot().wait()
    assert booted.out("echo $USER; cat ~/.ssh/authorized_keys").split()[0] == "ubuntu"
    stranger = every_bench.make_key(booted.key.with_name("stranger"))
    booted.key = stranger
    assert b"Permission denied" in booted.ssh("true").stderr


def test_another_host_key_is_refused(bench: Any) -> None:
    booted = bench.boot().wait()
    other = bench.make_key(booted.key.with_name("other")).with_suffix(".pub").read_text()
    booted.known_hosts.write_text(f"{booted.machine.instance_id} {other}")
    assert b"verification failed" in booted.ssh("true").stderr


def test_boots_what_the_user_data_says(every_bench: Any) -> None:
    place = every_bench.place
    booted = every_bench.boot(
        {
            "bootcmd": [f"echo early $INSTANCE_ID >> {place}/order; (sleep 0.3; echo survived > {place}/background) &"],
            "ssh_authorized_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ another"],
            "write_files": [{"path": "/home/ubuntu/made/file", "content": "as asked", "permissions": "0644"}],
            "runcmd": [
                ["sh", "-c", f"echo late ${{INSTANCE_ID:-anybody}} $1 >> {place}/order", "sh", "it's  so"],
                "false; word=last",
                f"echo $word >> {place}/order",
                "exit 3",
                f"echo never >> {place}/order",
            ],
        }
    )
    booted.wait().finished()
    early = f"early {booted.machine.instance_id}"
    assert booted.out(f"cat {place}/order").split("\n") == [early, "late anybody it's so", "last"]
    assert booted.out("stat -c %a ~/made/file; cat ~/made/file") == "644\nas asked"
    assert "another" in booted.out("cat ~/.ssh/authorized_keys")
    every_bench.until(lambda: booted.ssh(f"cat {place}/background").stdout == b"survived\n", "the background command")
    assert b"ended with 3" in booted.host.console()


def test_runs_a_script_as_user_data(bench: Any) -> None:
    booted = bench.boot(user_data=b"#!/bin/sh\necho from the script\n")
    bench.until(lambda: b"from the script" in booted.host.console(), "the script's line")


def test_reads_yaml_that_is_not_json(bench: Any) -> None:
    booted = bench.boot(user_data=b"#cloud-config\nruncmd:\n  - [echo, from yaml]\n")
    bench.until(lambda: b"from yaml" in booted.host.console(), "the command's line")


def test_port_is_closed_until_the_boot_is_over(bench: Any) -> None:
    began_s = time.monotonic()
    booted = bench.boot(delay_s=0.7)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", booted.host.ssh_port))
    booted.wait()
    assert time.monotonic() - began_s > 0.7


@pytest.mark.parametrize(
    ("command", "ending"),
    [
        ("sudo -n shutdown -h now", Ending.POWER_OFF),
        ("shutdown -P +0", Ending.POWER_OFF),
        ("sudo -n poweroff", Ending.POWER_OFF),
        ("systemctl reboot", Ending.REBOOT),
    ],
)
def test_the_guest_ends_itself(every_bench: Any, command: str, ending: Ending) -> None:
    booted = every_bench.boot().wait()
    booted.ssh(command)
    assert booted.endings.get(timeout=20) is ending
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", booted.host.ssh_port))


def test_a_cancelled_shutdown_does_not_come(bench: Any) -> None:
    booted = bench.boot().wait()
    booted.out("shutdown -h +1; shutdown -c; echo cancelled")
    booted.ssh("shutdown -r now")
    assert booted.endings.get(timeout=20) is Ending.REBOOT


def test_the_disk_outlives_a_reboot(bench: Any) -> None:
    booted = bench.boot({"bootcmd": ["echo at each boot"], "runcmd": ["echo once per life"]}).wait().finished()
    booted.out("echo kept > ~/file")
    booted.ssh("sudo reboot")
    booted.endings.get(timeout=20)
    bench.again(booted).wait()
    assert booted.out("cat ~/file") == "kept"
    bench.until(lambda: booted.host.console().count(b"finished") == 2, "the second boot")
    assert booted.host.console().count(b"once per life") == 1
    assert booted.host.console().count(b"at each boot") == 2


def test_sudden_death_takes_every_process(bench: Any) -> None:
    booted = bench.boot().wait()
    booted.out("setsid sh -c '(sleep 12321 &) ; exec sleep 12322' </dev/null >/dev/null 2>&1 &")
    bench.until(lambda: bench.running("sleep 12321") and bench.running("sleep 12322"), "the daemons")
    booted.host.kill()
    assert not bench.running("sleep 1232")
    assert booted.machine.folder.exists()
    assert booted.endings.empty()
    booted.host.release()
    assert not booted.machine.folder.exists()


def test_a_first_process_that_is_killed_from_outside_is_told(bench: Any) -> None:
    booted = bench.boot().wait()
    pgrep = ["pgrep", "-n", "-P", str(os.getpid()), "-f", "from guest.(init|plain) import main"]
    first = subprocess.run(pgrep, capture_output=True, check=True).stdout.decode()
    subprocess.run(["kill", "-9", first.strip()], check=True)
    assert booted.endings.get(timeout=20) is Ending.DIED


def test_sweep_removes_what_a_killed_daemon_left(fast_daemon_death: Callable[[str], Any], bench: Any) -> None:
    daemon, state = fast_daemon_death("loopback" if bench.kind == "loopback" else "namespaces")
    assert daemon.stdout is not None
    with daemon, daemon.stdout:
        daemon.stdout.readline()
        bench.until(lambda: bench.running("sleep 987") and bench.running("sleep 986"), "the host's daemons")
        daemon.kill()
        daemon.wait()
    hosts.sweep(state)
    assert not bench.running("sleep 98")
    assert not (state / "hosts").exists()
    hosts.sweep(state)


def test_an_unknown_kind_is_refused(scratch: Any) -> None:
    with pytest.raises(GpurunError, match="no such kind") as refusal:
        hosts.choose("docker", scratch)
    assert "loopback" in refusal.value.hint


def test_boots_with_no_key_of_anybody_and_without_a_home_for_root(every_bench: Any) -> None:
    user_data = b"#cloud-config\n" + json.dumps({"runcmd": ["echo home ${HOME:-none}"]}).encode()
    booted = every_bench.boot(user_data=user_data, with_key=False).finished()
    home = booted.machine.folder / "disk/home/ubuntu" if every_bench.kind == "loopback" else "none"
    assert f"home {home}\n" in booted.host.console().decode()


def test_commands_that_are_none_are_said(bench: Any) -> None:
    booted = bench.boot({"runcmd": ["echo first", {"a": 1}]}).wait().finished()
    assert b"neither a text nor a list" in booted.host.console()
    assert b"first" not in booted.host.console().replace(b"neither", b"")
