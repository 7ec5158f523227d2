"""A shell on a machine: the system's ssh, and ours on a real pseudo-terminal."""

import grp
import os
import shutil
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pexpect.fdpexpect import fdspawn

from launcher.paths import RunPaths
from launcher.sync.ssh.interactive import open_shell
from launcher.sync.ssh.known_hosts import write_run_config

RUN = "run-1"

SHELL = """
import sys
from pathlib import Path
from launcher.domain import Endpoint, HostKey
from launcher.paths import RunPaths
from launcher.sync.ssh.interactive import open_shell
home, port, user, key, algorithm, base64, *command = sys.argv[1:]
endpoint = Endpoint(
    address="127.0.0.1", user=user, port=int(port), key_file=Path(key), config_file=Path("/dev/null"),
    host_keys=(HostKey(algorithm=algorithm, base64=base64),),
)
sys.exit(open_shell(RunPaths(Path(home)), run_id="run-1", endpoint=endpoint, command=command))
"""


def argv(sshd, home: Path, *command: str) -> list[str]:
    key = sshd.host_key
    return [
        *(sys.executable, "-c", SHELL, str(home), str(sshd.port), sshd.user, str(sshd.key)),
        *(key.algorithm, key.base64, *command),
    ]


@pytest.fixture
def without_ssh(tmp_path: Path) -> dict[str, str]:
    """An environment whose PATH has no ssh."""
    (tmp_path / "no_programs").mkdir()
    return {**os.environ, "PATH": str(tmp_path / "no_programs"), "TERM": "xterm"}


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh")
def test_the_system_s_ssh_is_used_where_there_is_one(sshd, tmp_path: Path, capfd) -> None:
    paths = RunPaths(tmp_path / "run")
    write_run_config(paths, run_id=RUN, name="digits", endpoint=sshd.endpoint())
    status = open_shell(paths, run_id=RUN, endpoint=sshd.endpoint(), command=["sh", "-c", "echo 'a  b'; exit 6"])
    assert status == 6
    assert capfd.readouterr().out == "a  b\n"
    assert "OpenSSH" in sshd.log.split("Remote protocol version")[1].splitlines()[0]


def test_without_ssh_a_command_s_input_output_and_status_pass(sshd, tmp_path: Path, without_ssh) -> None:
    data = os.urandom(300_000)
    done = subprocess.run(
        argv(sshd, tmp_path, "sh", "-c", "cat; echo wrong >&2; exit 6"),
        env=without_ssh,
        input=data,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (6, data, b"wrong\n")


ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@contextmanager
def on_terminal(argv: list[str], environment: dict[str, str]) -> Iterator[tuple[fdspawn, subprocess.Popen]]:
    """A process with a terminal of its own; no fork in this one, which has threads."""
    master, slave = os.openpty()
    termios.tcsetwinsize(master, (33, 101))
    process = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, *argv],
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield fdspawn(master, timeout=30, encoding="utf-8"), process
    finally:
        process.kill()
        process.wait()
        os.close(master)


def sshd_gives_terminals() -> bool:
    """Without privilege it cannot hand one to the group tty, where the kernel does not by itself (devpts' gid=)."""
    master, slave = os.openpty()
    try:
        return os.geteuid() == 0 or os.fstat(slave).st_gid == grp.getgrnam("tty").gr_gid
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.skipif(not sshd_gives_terminals(), reason="an unprivileged sshd gets no terminals here")
def test_without_ssh_a_terminal_is_a_terminal(sshd, tmp_path: Path, without_ssh) -> None:
    with on_terminal(argv(sshd, tmp_path), without_ssh) as (terminal, process):
        terminal.sendline("stty size; test -t 0 && echo is-a-$((1))-tty")
        terminal.expect("33 101")
        terminal.expect("is-a-1-tty")
        termios.tcsetwinsize(terminal.fileno(), (44, 77))
        terminal.sendline("until stty size | grep -q '^44 77'; do sleep 0.1; done; echo resized-$((1+1))")
        terminal.expect("resized-2")
        # It speaks itself: between two commands of its own a shell may not be there to be interrupted.
        terminal.sendline("sh -c 'echo going-$((0+1)); exec sleep 600'; echo survived-$((2+1))")
        terminal.expect("going-1")
        terminal.send("\x03")
        terminal.sendline("echo interrupted-$((3+1)); exit 9")
        terminal.expect("interrupted-4")
        assert process.wait(30) == 9


def test_without_ssh_a_dead_server_gives_255(sshd, tmp_path: Path, without_ssh) -> None:
    process = subprocess.Popen(
        argv(sshd, tmp_path, "sh", "-c", "echo up; exec sleep 600"),
        env=without_ssh,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    sshd.stop()
    process.communicate(timeout=30)
    assert process.returncode == 255
