"""What real SSH clients do with a host: commands, files, terminals, all byte-exact."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import paramiko
import pytest

ALL_BYTES = bytes(range(256)) * 8192


def test_commands_hand_bytes_and_status_through(booted: Any) -> None:
    done = booted.ssh("cat; echo complaint >&2; exit 42", stdin=ALL_BYTES)
    assert (done.returncode, done.stdout, done.stderr) == (42, ALL_BYTES, b"complaint\n")
    assert booted.ssh("kill -TERM $$").returncode != 0


def test_output_is_whole_when_the_command_ends_at_once(booted: Any) -> None:
    sizes = [len(booted.ssh("head -c 3000000 /dev/zero").stdout) for _ in range(3)]
    assert sizes == [3000000] * 3


def test_the_python_of_the_environment_comes_first(booted: Any) -> None:
    for command in (
        "python3 -c 'import yaml; print(yaml.__name__)'",
        "bash -lc 'python3 -c \"import yaml; print(1)\"'",
    ):
        assert booted.out(command) in {"yaml", "1"}
    assert booted.out("sudo -n -E -- echo as asked") == "as asked"


@pytest.mark.parametrize("legacy", [(), ("-O",)])
def test_scp_both_ways(booted: Any, tmp_path: Path, legacy: tuple[str, ...]) -> None:
    (tmp_path / "up").write_bytes(ALL_BYTES)
    scp = ["scp", "-q", *legacy, *booted.options]
    subprocess.run([*scp, tmp_path / "up", "host:there"], check=True, timeout=60)
    subprocess.run([*scp, "host:/home/ubuntu/there", tmp_path / "down"], check=True, timeout=60)
    assert (tmp_path / "down").read_bytes() == ALL_BYTES


def test_sftp_shows_the_home_as_home_ubuntu(booted: Any, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(ALL_BYTES)
    batch = f"pwd\nput {tmp_path}/up\nmkdir folder\nrename up folder/up\nls folder\nget folder/up {tmp_path}/down\n"
    done = subprocess.run(
        ["sftp", "-b", "-", *booted.options, "host"], input=batch.encode(), capture_output=True, check=True, timeout=60
    )
    assert b"/home/ubuntu\n" in done.stdout
    assert (tmp_path / "down").read_bytes() == ALL_BYTES
    assert booted.out("ls folder") == "up"


@pytest.mark.skipif(not shutil.which("rsync"), reason="no rsync")
def test_rsync_both_ways(booted: Any, tmp_path: Path) -> None:
    for number in range(50):
        file = tmp_path / "up" / f"folder {number % 5}" / f"file {number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(1000 * number))
    rsync = ["rsync", "-a", "-e", booted.rsh()]
    subprocess.run([*rsync, f"{tmp_path}/up/", "host:tree/"], check=True, timeout=60)
    subprocess.run([*rsync, "host:tree/", f"{tmp_path}/down/"], check=True, timeout=60)
    assert _digests(tmp_path / "up") == _digests(tmp_path / "down")
    assert len(_digests(tmp_path / "down")) == 50


def _digests(top: Path) -> dict[str, str]:
    files = (path for path in top.rglob("*") if path.is_file())
    return {str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def client(booted: Any) -> Any:
    made = paramiko.SSHClient()
    made.load_host_keys(_known_hosts_for(booted))
    made.connect("127.0.0.1", booted.host.ssh_port, "ubuntu", key_filename=str(booted.key), look_for_keys=False)
    yield made
    made.close()


def _known_hosts_for(booted: Any) -> str:
    """Paramiko looks a host up by address and port, where OpenSSH has HostKeyAlias."""
    text = booted.known_hosts.read_text().replace(booted.machine.instance_id, f"[127.0.0.1]:{booted.host.ssh_port}")
    path = booted.known_hosts.with_name("paramiko")
    path.write_text(text)
    return str(path)


def test_paramiko_runs_commands_side_by_side(client: Any) -> None:
    channels = [client.get_transport().open_session() for _ in range(8)]
    for number, channel in enumerate(channels):
        channel.exec_command(f"cat >/dev/null; exit {number}")
    for channel in channels:
        channel.sendall(ALL_BYTES)
        channel.shutdown_write()
    assert [channel.recv_exit_status() for channel in channels] == list(range(8))


def test_paramiko_sftp(client: Any) -> None:
    with client.open_sftp() as sftp:
        with sftp.open("file", "wb") as file:
            file.write(ALL_BYTES)
        assert sftp.stat("/home/ubuntu/file").st_size == len(ALL_BYTES)
        assert sftp.normalize(".") == "/home/ubuntu"


def test_a_terminal_is_one(client: Any) -> None:
    channel = client.get_transport().open_session()
    channel.get_pty("xterm", width=91, height=17)
    channel.invoke_shell()
    channel.sendall(b"stty size; test -t 0 && echo $((6 * 7))$TERM; exit 5\n")
    said = b"".join(iter(lambda: channel.recv(4096), b""))
    assert b"17 91" in said
    assert b"42xterm" in said
    assert channel.recv_exit_status() == 5


def test_interrupt_on_a_terminal_reaches_the_command(client: Any) -> None:
    channel = client.get_transport().open_session()
    channel.get_pty()
    channel.exec_command("trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done")
    while b"ready" not in channel.recv(4096):
        pass
    channel.sendall(b"\x03")
    assert channel.recv_exit_status() == 9


def test_forwards_ports(booted: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    more = ("-L", f"127.0.0.1:{port}:127.0.0.1:22001", "-o", "ExitOnForwardFailure=yes")
    serve = (
        'python3 -c \'import socket; s=socket.create_server(("127.0.0.1", 22001)); print(1, flush=True);'
        " c=s.accept()[0]; c.sendall(c.recv(9)[::-1])'"
    )
    argv = ["ssh", *booted.options, *more, "host", serve]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        with socket.create_connection(("127.0.0.1", port), 10) as line:
            line.sendall(b"forward")
            assert line.recv(9) == b"drawrof"
        process.send_signal(signal.SIGTERM)


def test_metadata_service_answers_inside(booted: Any) -> None:
    script = (
        "import os, urllib.request as u\n"
        "base = os.environ.get('AWS_EC2_METADATA_SERVICE_ENDPOINT', 'http://169.254.169.254')\n"
        "ask = lambda p, m='GET', **h: u.urlopen(u.Request(base + p, method=m, headers=h)).read().decode()\n"
        "try: print(ask('/latest/meta-data/instance-id'))\n"
        "except Exception as e: print(e.code)\n"
        "token = ask('/latest/api/token', 'PUT')\n"
        "print(ask('/latest/meta-data/instance-id', **{'X-aws-ec2-metadata-token': token}))\n"
    )
    assert booted.ssh("python3 -", stdin=script.encode()).stdout.decode().split() == ["401", booted.machine.instance_id]


def test_the_control_plane_has_the_same_address_inside(shared_bench: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as cloud:
        port = cloud.getsockname()[1]
        thread = threading.Thread(target=_answer_once, args=(cloud,))
        thread.start()
        booted = shared_bench.boot(cloud_port=port).wait()
        ask = f'import socket; print(socket.create_connection(("127.0.0.1", {port})).recv(99).decode())'
        assert booted.out(f"python3 -c '{ask}'") == "the cloud"
        thread.join()


def _answer_once(cloud: socket.socket) -> None:
    with cloud.accept()[0] as line:
        line.sendall(b"the cloud")
