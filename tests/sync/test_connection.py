"""Connections to a real OpenSSH server on loopback."""

import contextlib
import hashlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from launcher.domain import Endpoint
from launcher.errors import CommandFailed, HostKeyMismatch, HostUnreachable, RemoteError, SpecError
from launcher.sync.ssh import watch
from launcher.sync.ssh.connection import Line, SshConnection, connect
from launcher.sync.ssh.dial import _Attempts
from launcher.sync.ssh.keys import fingerprint, generate, host_key_of, write_private
from launcher.sync.ssh.ssh_config import resolve

# The server's account may start slowly (a shell's start-up files); nothing here measures that.
TIMEOUT_S = 20.0


def connected(sshd, **changes) -> SshConnection:
    return connect(sshd.endpoint(**changes), timeout_s=TIMEOUT_S)


# -- commands and streams


def test_a_command_gives_status_output_and_errors_apart(sshd) -> None:
    with connected(sshd) as connection:
        done = connection.run("cat; echo wrong >&2; exit 3", stdin=b"in\0put")
    assert (done.status, done.stdout, done.stderr) == (3, b"in\0put", b"wrong\n")


def test_a_command_that_a_signal_ends_gives_255_as_ssh_does(sshd) -> None:
    with connected(sshd) as connection:
        assert connection.run("kill -9 $$").status == 255
        assert connection.run("exit 0").status == 0


def test_bytes_of_a_name_that_is_not_utf8_reach_the_command(sshd) -> None:
    with connected(sshd) as connection:
        assert connection.run("printf %s 'a\udcff'").stdout == b"a\xff"


def test_more_input_and_output_than_any_window_does_not_lock_up(sshd) -> None:
    data = os.urandom(9_000_000)
    with connected(sshd) as connection:
        done = connection.run("cat; cat /dev/null", stdin=data)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_a_flood_of_errors_does_not_hold_up_the_output_and_its_end_is_kept(sshd) -> None:
    with connected(sshd) as connection:
        done = connection.run("head -c 9000000 /dev/zero >&2; echo last >&2; echo out")
    assert done.stdout == b"out\n"
    assert len(done.stderr) == 1 << 16
    assert done.stderr.endswith(b"last\n")


def test_a_command_that_does_not_end_in_time_is_dropped(sshd) -> None:
    with connected(sshd) as connection:
        with pytest.raises(CommandFailed, match="did not end in time") as caught:
            connection.run("exec sleep 600", timeout_s=1)
        assert caught.value.status == 124
        assert connection.run("echo still here").stdout == b"still here\n"


def test_a_command_that_reads_nothing_of_a_large_input_still_gives_its_status(sshd) -> None:
    with connected(sshd) as connection:
        assert connection.run("exit 7", stdin=bytes(20_000_000)).status == 7


def test_a_stream_is_a_conversation_with_a_half_close(sshd) -> None:
    with connected(sshd) as connection:
        stream = connection.open("while read line; do echo got $line; done; echo end")
        stream.write(b"one\n")
        assert stream.read(100) == b"got one\n"
        stream.write(b"two\n")
        assert stream.read(100) == b"got two\n"
        stream.close_input()
        done = stream.finish()
    assert (done.status, done.stdout) == (0, b"end\n")


def test_the_end_of_output_reads_as_empty(sshd) -> None:
    with connected(sshd) as connection:
        stream = connection.open("echo x")
        assert stream.read(10) == b"x\n"
        assert stream.read(10) == b""
        assert stream.read(10) == b""


def test_writing_to_a_command_that_has_ended_says_so_with_its_last_words(sshd) -> None:
    with connected(sshd) as connection:
        stream = connection.open("echo no thanks >&2; exit 9")
        with pytest.raises(CommandFailed) as caught:
            stream.write(bytes(100_000_000))
    assert caught.value.status == 9
    assert caught.value.stderr == "no thanks\n"


def test_writing_after_the_input_was_closed_is_a_mistake(sshd) -> None:
    with connected(sshd) as connection:
        stream = connection.open("cat")
        stream.close_input()
        with pytest.raises(ValueError, match="closed"):
            stream.write(b"x")


def test_dropping_a_stream_ends_its_command(sshd, tmp_path: Path, eventually) -> None:
    with connected(sshd) as connection:
        stream = connection.open(f"cat; touch {tmp_path}/ended")
        stream.close()
        eventually((tmp_path / "ended").exists)
        assert connection.alive()


def test_many_streams_share_a_connection_from_many_threads(sshd) -> None:
    blobs = [os.urandom(700_000 + i) for i in range(6)]
    results: dict[int, bytes] = {}

    def exchange(number: int) -> None:
        results[number] = connection.run("cat", stdin=blobs[number]).stdout

    with connected(sshd) as connection:
        threads = [threading.Thread(target=exchange, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [results[i] for i in range(6)] == blobs


def test_more_sessions_than_the_server_allows_are_refused_in_words(make_sshd) -> None:
    sshd = make_sshd("MaxSessions 2")
    sshd.start()
    with connected(sshd) as connection:
        streams = [connection.open("cat") for _ in range(2)]
        with pytest.raises(RemoteError, match="no further session"):
            connection.open("cat")
        streams[0].close_input()
        assert streams[0].finish().status == 0


def test_the_line_uses_aes_gcm_and_does_not_rekey_early(sshd) -> None:
    with connected(sshd) as connection:
        transport = connection._secured.transport
        assert "gcm" in transport.remote_cipher
        assert transport.packetizer.REKEY_BYTES == 1 << 36
        assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_server_without_gcm_is_served_too_and_rekeys_as_usual(make_sshd) -> None:
    sshd = make_sshd("Ciphers aes256-ctr")
    sshd.start()
    with connected(sshd) as connection:
        assert connection.run("cat", stdin=bytes(100_000)).stdout == bytes(100_000)
        assert connection._secured.transport.packetizer.REKEY_BYTES < 1 << 36


# -- trust


def test_another_host_key_is_refused_before_authentication(sshd) -> None:
    pinned = host_key_of(generate("other").public_line)
    started = time.monotonic()
    with pytest.raises(HostKeyMismatch) as caught:
        connected(sshd, host_keys=(pinned,))
    assert time.monotonic() - started < 5, "a mismatch must not be retried"
    assert fingerprint(pinned) in caught.value.message
    assert fingerprint(sshd.host_key) in caught.value.message
    assert caught.value.hint
    assert "userauth-request" not in sshd.log
    connected(sshd).close()
    assert "userauth-request" in sshd.log, "the log would have shown an attempt"


def test_a_host_without_a_key_of_the_pinned_kind_is_refused_before_authentication(sshd) -> None:
    public = rsa.generate_private_key(65537, 2048).public_key()
    line = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    with pytest.raises(HostKeyMismatch, match="no host key of the pinned kind"):
        connected(sshd, host_keys=(host_key_of(line),))
    assert "userauth-request" not in sshd.log


def test_any_of_several_pinned_keys_will_do(sshd) -> None:
    other = host_key_of(generate("other").public_line)
    connected(sshd, host_keys=(other, sshd.host_key)).close()


def test_no_pinned_key_means_no_connection(sshd) -> None:
    with pytest.raises(SpecError, match="host key"):
        connected(sshd, host_keys=())
    assert "userauth-request" not in sshd.log


# -- reaching


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


# -- keys


def test_a_locked_key_is_used_through_the_agent(sshd, ssh_agent: Path, monkeypatch) -> None:
    subprocess.run(["ssh-add", "-q", str(sshd.key)], env={**os.environ, "SSH_AUTH_SOCK": str(ssh_agent)}, check=True)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(sshd.key)], check=True)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(ssh_agent))
    connected(sshd).close()


def test_a_locked_key_is_asked_for_once_over_reconnects(sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(sshd.key)], check=True)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr("launcher.sync.ssh.identities.can_ask", lambda: True)
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "wrong" if len(asked) == 1 else "secret"

    monkeypatch.setattr("getpass.getpass", answer)
    line = Line(sshd.endpoint())
    line.current().close()
    line.fresh(TIMEOUT_S)
    line.close()
    assert len(asked) == 2
    assert str(sshd.key) in asked[0]


def test_a_locked_key_with_nobody_to_ask_gets_the_ssh_add_command(sshd, monkeypatch) -> None:
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(sshd.key)], check=True)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr("launcher.sync.ssh.identities.can_ask", lambda: False)
    with pytest.raises(SpecError) as caught:
        connected(sshd)
    assert caught.value.hint == f"ssh-add {sshd.key}"


def test_the_agent_that_the_config_names_is_asked_where_no_key_is_given(sshd, ssh_agent: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(sshd.key)], env={**os.environ, "SSH_AUTH_SOCK": str(ssh_agent)}, check=True)
    config = sshd.folder / "config_agent"
    config.write_text(f"IdentityAgent {ssh_agent}\nIdentityFile {sshd.folder}/absent\n")
    connected(sshd, key_file=None, config_file=config).close()


def test_no_key_at_all_is_said(sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    config = sshd.folder / "config_none"
    config.write_text(f"IdentityFile {sshd.folder}/absent\n")
    with pytest.raises(HostUnreachable, match="no key to offer"):
        connected(sshd, key_file=None, config_file=config)


# -- ssh_config


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


# -- dead lines


def test_a_killed_server_wakes_everyone(sshd) -> None:
    line = Line(sshd.endpoint())
    connection = line.current()
    stream = connection.open("cat")
    caught: list[Exception] = []

    def read() -> None:
        try:
            stream.read(10)
        except HostUnreachable as error:
            caught.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    sshd.stop()
    reader.join(5)
    assert [type(e) for e in caught] == [HostUnreachable]
    with pytest.raises(HostUnreachable):
        stream.write(bytes(1_000_000))
    with pytest.raises(HostUnreachable):
        stream.finish()
    with pytest.raises(HostUnreachable):
        connection.run("true")
    assert not connection.alive()
    sshd.start()
    assert line.fresh(TIMEOUT_S).run("echo again").stdout == b"again\n"
    assert line.current() is not connection
    assert line.fresh(TIMEOUT_S) is line.current()
    line.close()
    line.close()


def test_a_line_keeps_its_connection_until_it_is_closed(sshd) -> None:
    line = Line(sshd.endpoint())
    connection = line.current()
    assert line.current() is connection
    assert line.fresh(1) is connection
    line.close()
    assert not connection.alive()


def suspended(process: psutil.Process) -> bool:
    """Stop a process; one of the account's start-up commands may have ended since it was listed."""
    try:
        process.suspend()
    except psutil.NoSuchProcess:
        return False
    return True


@pytest.mark.slow
def test_a_frozen_server_is_noticed_within_15_s_by_readers_writers_and_idlers(sshd) -> None:
    """Its kernel still acknowledges; only an answer that does not come can tell."""
    reading, writing, idle = connected(sshd), connected(sshd), connected(sshd)
    reader, writer = reading.open("cat"), writing.open("exec sleep 600")
    failures: dict[str, float] = {}

    def fails(name: str, call: Callable[[], object]) -> None:
        with pytest.raises(HostUnreachable, match="stopped answering"):
            call()
        failures[name] = time.monotonic()

    frozen = [process for process in sshd.processes() if suspended(process)]
    started = time.monotonic()
    try:
        threads = [
            threading.Thread(target=fails, args=("reader", lambda: reader.read(1))),
            threading.Thread(target=fails, args=("writer", lambda: writer.write(bytes(100_000_000)))),
        ]
        for thread in threads:
            thread.start()
        while idle.alive() and time.monotonic() < started + 20:
            time.sleep(0.05)  # a line that nobody reads or writes tells only whoever asks
        failures["idle"] = time.monotonic()
        for thread in threads:
            thread.join(20)
    finally:
        for process in frozen:
            process.resume()
    assert set(failures) == {"reader", "writer", "idle"}
    assert max(failures.values()) - started < 15
    for connection in (reading, writing, idle):
        connection.close()


@pytest.fixture
def hasty_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "TICK_S", 0.1)
    monkeypatch.setattr(watch, "PING_AFTER_S", 0.4)
    monkeypatch.setattr(watch, "READ_DEADLINE_S", 1.2)


@pytest.mark.usefixtures("hasty_watch")
def test_an_idle_line_that_answers_stays_up(sshd) -> None:
    with connected(sshd) as connection:
        stream = connection.open("read x; echo $x")
        time.sleep(3)  # longer than the deadline for an answer, twice
        stream.write(b"still\n")
        assert stream.finish().stdout == b"still\n"


@pytest.mark.usefixtures("hasty_watch")
def test_a_cut_network_is_noticed_and_a_new_line_goes_on(sshd) -> None:
    with Relay(sshd.port) as relay:
        line = Line(sshd.endpoint(port=relay.port))
        first = line.current()
        stream = first.open("cat")
        relay.cut.set()
        with pytest.raises(HostUnreachable, match="stopped answering"):
            stream.read(1)
        relay.cut.clear()
        assert line.fresh(TIMEOUT_S).run("echo again").stdout == b"again\n"
        assert line.current() is not first
        line.close()


@pytest.mark.usefixtures("hasty_watch")
def test_a_slow_upload_is_no_dead_line(sshd) -> None:
    """The answers wait behind what is still to be sent; that it moves is answer enough."""
    with Relay(sshd.port, bytes_per_s=40_000) as relay, connected(sshd, port=relay.port) as connection:
        stream = connection.open("wc -c")
        stream.write(bytes(200_000))
        assert stream.finish().stdout.strip() == b"200000"


class Relay:
    """A TCP relay that can be cut: bytes stall both ways and nothing is reset."""

    def __init__(self, target: int, bytes_per_s: int | None = None) -> None:
        self.cut = threading.Event()
        self._target = target
        self._rate = bytes_per_s
        self._server = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def __enter__(self) -> Self:
        self._go(self._accept)
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for end in self._ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(5)
        for end in self._ends:
            end.close()

    def _go(self, target: Callable, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        if self._rate:
            self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._ends += [near, far]
            self._go(self._carry, near, far, self._rate)
            self._go(self._carry, far, near, None)

    def _carry(self, source: socket.socket, sink: socket.socket, rate: int | None) -> None:
        mine = not self.cut.is_set()
        try:
            while data := source.recv(4096 if rate else 65536):
                if self.cut.is_set():
                    mine = False
                if not mine:
                    continue
                if rate:
                    time.sleep(len(data) / rate)  # which makes the rate
                sink.sendall(data)
            if mine:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


def test_an_endpoint_with_a_port_in_the_ephemeral_range_does_not_connect_to_itself(make_sshd) -> None:
    """TCP lets a socket dial its own port; the dialler must take that for a refusal."""
    endpoint: Endpoint = make_sshd().endpoint()
    attempts = _Attempts(resolve(endpoint).target)
    own = socket.socket()
    own.bind(("127.0.0.1", 0))
    own.connect(own.getsockname())
    assert attempts._settle(own, 0) is None
    assert "refused" in attempts.reason
