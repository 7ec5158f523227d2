"""Ways that the SSH config tells of: other names, proxy commands, jump hosts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from launcher.errors import HostKeyMismatch, HostUnreachable
from launcher.sync.ssh.connection import connect

from .connecting import TIMEOUT_S, connected


def test_the_config_maps_an_address_as_the_sandbox_does(sshd) -> None:
    config = sshd.folder / "mapped"
    config.write_text(f"Host 198.18.0.2\n  HostName 127.0.0.1\n  Port {sshd.port}\n  HostKeyAlias i-1\n")
    with connected(sshd, address="198.18.0.2", port=22, config_file=config) as connection:
        assert connection.run("echo here").stdout == b"here\n"


def test_a_proxy_command_carries_the_connection_and_is_ended_with_it(sshd) -> None:
    relay = (
        "import os,socket,sys,threading\n"
        "s=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
        "def up():\n"
        "    while d:=os.read(0,65536): s.sendall(d)\n"
        "    os._exit(0)\n"
        "threading.Thread(target=up,daemon=True).start()\n"
        "while d:=s.recv(65536): os.write(1,d)\n"
    )
    script = sshd.folder / "relay.py"
    script.write_text(relay)
    config = sshd.folder / "proxied"
    config.write_text(f"Host box\n  HostName 127.0.0.1\n  ProxyCommand {sys.executable} {script} %h %p\n")
    connection = connected(sshd, address="box", config_file=config)
    assert connection.run("cat", stdin=bytes(200_000)).stdout == bytes(200_000)
    assert is_running(script)
    connection.close()
    assert not is_running(script)


def is_running(script: Path) -> bool:
    """Whether a process below this one runs it; one that has ended and waits to be asked for does not."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie, too
            if str(script) in child.cmdline():
                return True
    return False


def test_a_proxy_command_that_fails_is_tried_until_time_is_up(sshd) -> None:
    config = sshd.folder / "proxied"
    config.write_text("Host box\n  ProxyCommand false\n")
    with pytest.raises(HostUnreachable):
        connect(sshd.endpoint(address="box", config_file=config), timeout_s=1)


def jump_config(folder: Path, jumps: list, known: Path) -> Path:
    """jump1 is reached directly, each further one through the one before."""
    blocks = []
    for number, jump in enumerate(jumps, 1):
        before = f"  ProxyJump jump{number - 1}\n" if number > 1 else ""
        blocks.append(
            f"Host jump{number}\n  HostName 127.0.0.1\n  Port {jump.port}\n  User {jump.user}\n"
            f"  IdentityFile {jump.key}\n  UserKnownHostsFile {known}\n{before}"
        )
    config = folder / "jump_config"
    config.write_text("\n".join(blocks))
    return config


def known_line(sshd) -> str:
    return f"[127.0.0.1]:{sshd.port} {sshd.host_key.algorithm} {sshd.host_key.base64}\n"


@pytest.fixture
def jumps(make_sshd: Callable) -> list:
    servers = [make_sshd(), make_sshd()]
    for server in servers:
        server.start()
    return servers


def test_two_jumps_are_passed_one_through_the_other(sshd, jumps, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text("".join(map(known_line, jumps)))
    config = jump_config(tmp_path, jumps, known)
    with connected(sshd, config_file=config, proxy="jump2") as connection:
        assert connection.run("cat", stdin=bytes(300_000)).stdout == bytes(300_000)
    assert "Accepted publickey" in jumps[0].log
    assert "Accepted publickey" in jumps[1].log
    assert "direct-tcpip" in jumps[1].log
    assert "direct-tcpip" not in sshd.log


def test_a_jump_host_that_nobody_knows_is_refused_before_authentication(sshd, jumps, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text("")
    config = jump_config(tmp_path, jumps[:1], known)
    with pytest.raises(HostKeyMismatch, match="jump1") as caught:
        connected(sshd, config_file=config, proxy="jump1")
    assert f"ssh -p {jumps[0].port}" in caught.value.hint
    assert "userauth-request" not in jumps[0].log


def test_a_jump_host_with_another_key_is_refused_before_authentication(sshd, jumps, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(known_line(jumps[0]).replace(jumps[0].host_key.base64, sshd.host_key.base64))
    with pytest.raises(HostKeyMismatch, match="pinned is"):
        connected(sshd, config_file=jump_config(tmp_path, jumps[:1], known), proxy="jump1")
    assert "userauth-request" not in jumps[0].log


def test_behind_a_jump_the_machine_is_waited_for_too(make_sshd, jumps, tmp_path: Path) -> None:
    late = make_sshd()
    known = tmp_path / "known"
    known.write_text(known_line(jumps[0]))
    config = jump_config(tmp_path, jumps[:1], known)
    reasons: list[str] = []

    def on_wait(reason: str) -> None:
        if not reasons:
            late.start()
        reasons.append(reason)

    connect(late.endpoint(config_file=config, proxy="jump1"), timeout_s=TIMEOUT_S, on_wait=on_wait).close()
    assert "jump host cannot reach it" in reasons[0]
