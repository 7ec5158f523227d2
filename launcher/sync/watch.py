"""Notices that the far side has gone silent, and hangs up, so that nothing waits on a dead line for ever."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import termios
import threading
import time

from launcher.sync.lean import paramiko
from launcher.sync.packets import Packets

TICK_S = 0.5
PING_AFTER_S = 5.0
"""Silence after which we ask whether anyone is there."""
READ_DEADLINE_S = 12.0
"""Silence after which the line is dead."""
REQUEST = "keepalive@openssh.com"


class Watch(threading.Thread):
    """Asks after `PING_AFTER_S` of silence, hangs up after `READ_DEADLINE_S` of it."""

    def __init__(self, transport: paramiko.Transport, packetizer: Packets) -> None:
        super().__init__(name="gpurun-ssh-watch", daemon=True)
        self._packetizer = packetizer
        self.silent = False
        self._transport = transport
        self._stopped = threading.Event()
        self._queued_bytes = 0
        self._ping_thread: threading.Thread | None = None

    def run(self) -> None:
        """Until the line ends, or `stop`."""
        last = time.monotonic()
        while not self._stopped.wait(TICK_S) and self._transport.is_active():
            now = time.monotonic()
            if now - last > 4 * TICK_S or self._send_queue_shrank():
                # We were stopped ourselves (Ctrl-Z, a suspended laptop), or the far side takes what we send.
                self._packetizer.heard_at = now
            last = now
            self._judge(now - self._packetizer.heard_at)

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def _judge(self, silence_s: float) -> None:
        if silence_s > READ_DEADLINE_S:
            self.silent = True
            hang_up(self._transport)
        elif silence_s > PING_AFTER_S and (self._ping_thread is None or not self._ping_thread.is_alive()):
            # In a thread of its own: a full send buffer blocks the one who writes into it.
            self._ping_thread = threading.Thread(target=self._ping, name="gpurun-ssh-ping", daemon=True)
            self._ping_thread.start()

    def _ping(self) -> None:
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._transport.global_request(REQUEST, wait=True)

    def _send_queue_shrank(self) -> bool:
        """Whether the far side's kernel acknowledged bytes of ours: a slow upload is no dead line."""
        before, self._queued_bytes = self._queued_bytes, _unacknowledged_bytes(self._transport.sock)
        return before - self._queued_bytes > 1024


def hang_up(transport: paramiko.Transport) -> None:
    """End the byte stream below a transport; every thread that reads from or writes to it wakes with an error."""
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        if isinstance(transport.sock, socket.socket):
            transport.sock.shutdown(socket.SHUT_RDWR)
        else:
            transport.sock.close()


def _unacknowledged_bytes(connection: object) -> int:
    """In the kernel's send queue; 0 where it cannot be told (tcp(7): SIOCOUTQ, which is TIOCOUTQ)."""
    if sys.platform != "linux" or not isinstance(connection, socket.socket):
        return 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])
    except (OSError, ValueError):
        return 0
