"""What a host's first process does once the host is up, and how it starts the boot beside itself."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from . import cloudinit, disk, power
from .messages import Messages


def fork_boot(places: cloudinit.Places, delay_s: float, start_ssh: Callable[[], None]) -> None:
    """Boot in a process of its own, so that a command that never ends keeps nothing from working."""
    if os.fork():
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    time.sleep(delay_s)
    try:
        cloudinit.boot(places, start_ssh)
    except OSError as error:
        cloudinit.say(f"gave up: {error}")
    os._exit(0)


def make_pipe(path: Path) -> None:
    """Make the named pipe through which the guest's `shutdown` speaks, open to all its users."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    path.chmod(0o622)


def reign(messages: Messages, pipe_path: Path) -> None:
    """Reap orphans, obey the daemon and the power pipe; returns when the host is to end."""
    pipe = os.open(pipe_path, os.O_RDWR | os.O_NONBLOCK)
    wake_in, wake_out = os.pipe()
    os.set_blocking(wake_out, False)
    signal.set_wakeup_fd(wake_out)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    poll = select.poll()
    for descriptor in (messages.fileno(), pipe, wake_in):
        poll.register(descriptor, select.POLLIN)
    pending: power.PowerOrder | None = None
    while True:
        _reap()
        if pending and pending.at_s <= time.time():
            cloudinit.say(f"{pending.action} requested")
            messages.send({"event": "ending", "how": pending.action})
            return
        timeout_ms = None if pending is None else max(0.0, pending.at_s - time.time()) * 1000 + 1
        ready = {descriptor for descriptor, _ in poll.poll(timeout_ms)}
        if wake_in in ready:
            os.read(wake_in, 4096)
        if pipe in ready:
            pending = _read_orders(pipe, pending)
        if messages.fileno() in ready and not _answer(messages):
            return


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _answer(messages: Messages) -> bool:
    """Do what each of the daemon's messages asks for, mostly a fresh socket; false when the daemon is gone."""
    while True:
        message, _ = messages.receive()
        if not message:
            return False
        if message["do"] == "fill":
            messages.send({"event": "answer", "error": disk.fill(message["leave_bytes"], message["disk_bytes"])})
        else:
            with socket.socket() as fresh:
                messages.send({"event": "socket"}, [fresh.fileno()])
        if not messages.waiting:
            return True


def _read_orders(pipe: int, pending: power.PowerOrder | None) -> power.PowerOrder | None:
    for line in os.read(pipe, 65536).decode(errors="replace").splitlines():
        order = power.parse_order(line, now_s=time.time())
        if order:
            pending = None if order.action == power.CANCEL else order
    return pending
