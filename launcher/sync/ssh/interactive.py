"""A shell on a run's machine: the system's ssh where there is one, else a terminal loop of ours."""

from __future__ import annotations

import fcntl
import os
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from launcher.domain import Endpoint
from launcher.paths import RunPaths
from launcher.sync.ssh.channel import NO_STATUS
from launcher.sync.ssh.connection import SshConnection, connect
from launcher.sync.ssh.lean import paramiko

CONNECT_TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 15
RESIZE_POLL_S = 0.2


def open_shell(paths: RunPaths, *, run_id: str, endpoint: Endpoint, command: Sequence[str] = ()) -> int:
    """A login shell on this process's terminal, or `command` there; returns its exit status, 255 on a dead line.

    Raises as `connect` does where there is no ssh program.
    """
    program = shutil.which("ssh")
    if program is not None and paths.ssh_config.exists():
        return _system_ssh([program, "-F", str(paths.ssh_config), run_id], command)
    with connect(endpoint, timeout_s=CONNECT_TIMEOUT_S) as connection:
        return own_shell(connection, command)


def _system_ssh(argv: list[str], command: Sequence[str]) -> int:
    """Ctrl-C is for the far side: this process only waits, with a handler that ssh does not inherit."""
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        status = subprocess.run([*argv, *(["--", _text(command)] if command else [])], check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    return status if status >= 0 else 128 - status


def _text(command: Sequence[str]) -> str:
    """As ssh has it: one word is a line for the shell there, several are a program and its arguments."""
    return command[0] if len(command) == 1 else shlex.join(command)


def own_shell(connection: SshConnection, command: Sequence[str]) -> int:
    """`open_shell` over a connection of ours, between this process's standard input and output."""
    channel = connection.session()
    on_terminal = os.isatty(0)
    if on_terminal:
        columns, rows = _size()
        channel.get_pty(os.environ.get("TERM", "xterm"), columns, rows)
    if command:
        channel.exec_command(_text(command))
    else:
        channel.invoke_shell()
    with _raw_terminal(on_terminal) as resized:
        _pump(channel, resized)
    status = channel.recv_exit_status()
    channel.close()
    return status if status >= 0 else NO_STATUS


def _pump(channel: paramiko.Channel, resized: Callable[[], bool]) -> None:
    """Carry bytes both ways until the far side has ended."""
    sources: list[int | paramiko.Channel] = [0, channel]
    while not _spent(channel):
        ready, _, _ = select.select(sources, [], [], RESIZE_POLL_S)
        if resized():
            channel.resize_pty(*_size())
        if 0 in ready and not _forward_input(channel):
            sources.remove(0)
        _forward_output(channel)


def _spent(channel: paramiko.Channel) -> bool:
    unread = channel.recv_ready() or channel.recv_stderr_ready()
    return not unread and bool(channel.eof_received or channel.closed)


def _forward_input(channel: paramiko.Channel) -> bool:
    data = os.read(0, CHUNK_BYTES)
    if not data:
        channel.shutdown_write()
        return False
    try:
        channel.sendall(data)
    except OSError:
        return False  # the far side has ended; its last output is still to come
    return True


def _forward_output(channel: paramiko.Channel) -> None:
    while channel.recv_ready():
        _write(1, channel.recv(CHUNK_BYTES))
    while channel.recv_stderr_ready():
        _write(2, channel.recv_stderr(CHUNK_BYTES))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _size() -> tuple[int, int]:
    """Columns and rows of the terminal on standard input (tty_ioctl(4))."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))
    return columns or 80, rows or 24


@contextmanager
def _raw_terminal(on_terminal: bool) -> Iterator[Callable[[], bool]]:
    """Keys go through unread inside the block; gives a question: was the window resized since last asked?"""
    if not on_terminal:
        yield lambda: False
        return
    sys.stdout.flush()
    changed = threading.Event()

    def resized() -> bool:
        happened = changed.is_set()
        changed.clear()
        return happened

    before = termios.tcgetattr(0)
    handler = signal.signal(signal.SIGWINCH, lambda _number, _frame: changed.set())
    try:
        tty.setraw(0, termios.TCSADRAIN)  # what was typed ahead is kept
        yield resized
    finally:
        signal.signal(signal.SIGWINCH, handler)
        termios.tcsetattr(0, termios.TCSADRAIN, before)
