"""A remote command's input, output and end, over one channel of a connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from launcher.errors import CommandFailed, HostUnreachable
from launcher.ports import Completed
from launcher.sync.ssh.lean import paramiko
from launcher.sync.ssh.outbox import Outbox

CHUNK_BYTES = 1 << 15
STDERR_KEPT_BYTES = 1 << 16
DRAIN_EVERY_S = 0.5
"""How long unread standard error, which shares the channel's window, can hold up the rest."""
NO_STATUS = 255
"""A command that a signal ended has none; ssh(1) gives 255 then."""

T = TypeVar("T")
Lost = Callable[[], HostUnreachable]


class SshStream:
    """`ports.Stream` over a paramiko channel; one thread may read while another writes."""

    def __init__(self, channel: paramiko.Channel, command: str, lost: Lost) -> None:
        channel.settimeout(DRAIN_EVERY_S)
        self._channel = channel
        self._outbox = Outbox(channel)
        self._command = command
        self._lost = lost
        self._stderr = bytearray()
        self._stderr_lock = threading.Lock()
        self._input_open = True
        self._dropped = False

    def write(self, data: bytes) -> None:
        """Send all of `data`; raises `HostUnreachable`, or `CommandFailed` where the command has ended."""
        if not self._input_open:
            raise ValueError("the stream's input is closed")
        view = memoryview(data)
        while view:
            view = view[self._send(view) :]

    def close_input(self) -> None:
        """End the command's standard input; its output goes on."""
        if self._input_open:
            self._input_open = False
            self._guard(self._outbox.end)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of standard output; empty at its end; raises `HostUnreachable`."""
        data = self._read_until(size, None)
        return data if data is not None else b""

    def finish(self) -> Completed:
        """Wait for the command's end; `stderr` holds its last 64 KiB."""
        self.close_input()
        return self.collect(None)

    def collect(self, deadline: float | None) -> Completed:
        """`finish` for a stream whose input is closed elsewhere; `deadline` is in `time.monotonic()` seconds.

        Raises `CommandFailed` (status 124, as timeout(1) gives) where the command does not end in time.
        """
        rest: list[bytes] = []
        while data := self._read_until(CHUNK_BYTES, deadline):
            rest.append(data)
        self._await_status(deadline)
        self._drain_stderr()
        status = self._channel.exit_status
        self.close()
        return Completed(status=status if status >= 0 else NO_STATUS, stdout=b"".join(rest), stderr=bytes(self._stderr))

    def alive(self) -> bool:
        """Whether the command still runs and the channel is open, as far as is known without asking."""
        return not (self._channel.closed or self._ended())

    def close(self) -> None:
        """Drop the channel; sshd then closes the command's input and output."""
        self._dropped = True
        try:
            self._channel.close()
        except (paramiko.SSHException, EOFError, OSError):
            return

    def _send(self, piece: memoryview) -> int:
        try:
            sent = self._outbox.send(piece)
        except TimeoutError:
            self._drain_stderr()
            return 0
        except (paramiko.SSHException, EOFError, OSError):
            raise self._write_failure() from None
        if sent == 0:
            raise self._write_failure()
        return sent

    def _write_failure(self) -> HostUnreachable | CommandFailed:
        if not self._ended():
            return self._lost()
        self._drain_stderr()
        status = self._channel.exit_status
        return CommandFailed(
            f"the command ended before it had read all its input: {self._command[:200]}",
            status=status if status >= 0 else NO_STATUS,
            stderr=self._stderr.decode(errors="replace"),
        )

    def _read_until(self, size: int, deadline: float | None) -> bytes | None:
        while True:
            self._drain_stderr()
            try:
                data = self._guard(lambda: self._channel.recv(size))
            except TimeoutError:
                self._check(deadline)
                continue
            if not data and not self._ended():
                raise self._lost()
            return data

    def _await_status(self, deadline: float | None) -> None:
        while not self._channel.status_event.wait(DRAIN_EVERY_S):
            self._drain_stderr()
            self._check(deadline)
        if not self._ended():
            raise self._lost()

    def _check(self, deadline: float | None) -> None:
        if deadline is not None and time.monotonic() > deadline:
            self.close()
            raise CommandFailed(f"the command did not end in time: {self._command[:200]}", status=124)

    def _ended(self) -> bool:
        """Whether the far side said that the command is over; a channel that merely closed is a dead line."""
        return bool(self._channel.eof_received) or self._channel.exit_status >= 0 or self._dropped

    def _drain_stderr(self) -> None:
        with self._stderr_lock:
            while self._channel.recv_stderr_ready():
                self._stderr += self._guard(lambda: self._channel.recv_stderr(CHUNK_BYTES))
            del self._stderr[:-STDERR_KEPT_BYTES]

    def _guard(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except TimeoutError:
            raise
        except (paramiko.SSHException, EOFError, OSError):
            raise self._lost() from None
