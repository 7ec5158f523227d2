"""A server that is not there yet, or never will be."""

from __future__ import annotations

import logging
import socket
import threading
import time
from pathlib import Path

import psutil
import pytest

from launcher.domain import Endpoint
from launcher.errors import HostKeyMismatch, HostUnreachable
from launcher.sync.ssh.connection import connect
from launcher.sync.ssh.dial import _Attempts
from launcher.sync.ssh.keys import fingerprint, generate, host_key_of, write_private
from launcher.sync.ssh.ssh_config import resolve

from .connecting import TIMEOUT_S, connected


def test_a_port_that_opens_late_is_caught_soon_after(make_sshd) -> None:
    sshd = make_sshd()
    opened: list[float] = []
    reasons: list[str] = []

    def open_late() -> None:
        time.sleep(1.2)  # until the pauses between attempts have grown
        sshd.start()
        opened.append(time.monotonic())

    thread = threading.Thread(target=open_late)
    thread.start()
    with connect(sshd.endpoint(), timeout_s=TIMEOUT_S, on_wait=reasons.append):
        reached = time.monotonic()
        thread.join()
    assert reached - opened[0] < 1.0
    assert any("refused" in reason for reason in reasons)
    assert len(reasons) == len(set(reasons)) or len(reasons) < 4


def test_a_port_that_takes_connections_and_drops_them_is_tried_again(make_sshd) -> None:
    """As a relay in front of a machine does whose sshd is not up yet."""
    sshd = make_sshd()
    dropped: list[int] = []
    with socket.create_server(("127.0.0.1", sshd.port)) as relay:

        def drop_three() -> None:
            for number in range(3):
                relay.accept()[0].close()
                dropped.append(number)
            relay.close()
            sshd.start()

        thread = threading.Thread(target=drop_three)
        thread.start()
        connected(sshd).close()
        thread.join()
    assert len(dropped) == 3


def test_a_key_that_is_authorized_late_is_tried_again(sshd) -> None:
    line = sshd.authorized_keys.read_text()
    sshd.authorized_keys.write_text("")
    reasons: list[str] = []

    def on_wait(reason: str) -> None:
        reasons.append(reason)
        sshd.authorized_keys.write_text(line)

    connect(sshd.endpoint(), timeout_s=TIMEOUT_S, on_wait=on_wait).close()
    assert any("refuses" in reason for reason in reasons)


def test_a_key_that_stays_refused_is_named_with_the_next_command(sshd, tmp_path: Path) -> None:
    stranger = generate("stranger")
    write_private(tmp_path / "stranger", stranger.private_pem)
    started = time.monotonic()
    with pytest.raises(HostUnreachable) as caught:
        connect(sshd.endpoint(key_file=tmp_path / "stranger"), timeout_s=60, auth_grace_s=1)
    assert time.monotonic() - started < 10
    assert fingerprint(host_key_of(stranger.public_line)) in caught.value.message
    assert f"ssh -v -i {tmp_path / 'stranger'} -p {sshd.port}" in caught.value.hint


def test_a_closed_port_says_refused(make_sshd) -> None:
    with pytest.raises(HostUnreachable, match="refused") as caught:
        connect(make_sshd().endpoint(), timeout_s=0.5)
    assert caught.value.hint


def test_a_silent_address_says_no_answer(make_sshd) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        # A full accept queue drops further SYNs, as a firewall does.
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        with pytest.raises(HostUnreachable, match="no answer"):
            connect(make_sshd().endpoint(port=full.getsockname()[1]), timeout_s=1.5)
        for filler in fillers:
            filler.close()


def test_an_unknown_name_is_told_as_such_and_soon(make_sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_options: object) -> list:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr("launcher.sync.ssh.dial.NAME_GRACE_S", 0.2)
    started = time.monotonic()
    with pytest.raises(HostUnreachable, match=r"name 'no-such-host\.invalid' is not known") as caught:
        connect(make_sshd().endpoint(address="no-such-host.invalid"), timeout_s=60)
    assert "no-such-host.invalid" in caught.value.hint
    assert time.monotonic() - started < 10


def test_a_port_that_speaks_something_else_says_so(make_sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        thread = threading.Thread(target=_answer_in_http, args=(other,))
        thread.start()
        with pytest.raises(HostUnreachable, match="not as an SSH server"):
            connect(make_sshd().endpoint(port=other.getsockname()[1]), timeout_s=1)
        other.shutdown(socket.SHUT_RDWR)
        thread.join()


def _answer_in_http(server: socket.socket) -> None:
    while True:
        try:
            peer, _ = server.accept()
        except OSError:
            return
        with peer:
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_a_name_with_two_addresses_is_reached_by_the_one_that_listens(sshd) -> None:
    if {a[0] for a in socket.getaddrinfo("localhost", 1)} != {socket.AF_INET, socket.AF_INET6}:
        pytest.skip("localhost has one address here")
    started = time.monotonic()
    connected(sshd, address="localhost").close()
    assert time.monotonic() - started < 5


def test_nothing_is_written_to_the_terminal_by_paramiko(sshd, capfd, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(HostKeyMismatch):
        connected(sshd, host_keys=(host_key_of(generate("x").public_line),))
    connection = connected(sshd)
    sshd.stop()
    with pytest.raises(HostUnreachable):
        connection.run("true")
    connection.close()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_connecting_leaves_no_thread_and_no_socket_behind(sshd, eventually) -> None:
    connected(sshd).close()
    before = psutil.Process().num_fds(), threading.active_count()
    for _ in range(3):
        connected(sshd).close()
    eventually(lambda: (psutil.Process().num_fds(), threading.active_count()) <= before)


def test_an_endpoint_with_a_port_in_the_ephemeral_range_does_not_connect_to_itself(make_sshd) -> None:
    """TCP lets a socket dial its own port; the dialler must take that for a refusal."""
    endpoint: Endpoint = make_sshd().endpoint()
    attempts = _Attempts(resolve(endpoint).target)
    own = socket.socket()
    own.bind(("127.0.0.1", 0))
    own.connect(own.getsockname())
    assert attempts._settle(own, 0) is None
    assert "refused" in attempts.reason
