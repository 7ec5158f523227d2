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

from launcher.sync.ssh.lean import paramiko
from launcher.sync.ssh.packets import Packets

TICK_S = 0.5
PING_AFTER_S = 5.0
"""Silence after which we ask whether anyone is there."""
READ_DEADLINE_S = 12.0
"""Silence after which the line is dead."""
WOKEN_AFTER_S = 2.0
"""A tick that comes that late was not ours to give."""
QUESTIONS_BYTES = 512
"""What a few unanswered questions make."""
REQUEST = "keepalive@openssh.com"


class Watch(threading.Thread):
    """Asks after `PING_AFTER_S` of silence, hangs up after `READ_DEADLINE_S` of it."""

    def __init__(self, transport: paramiko.Transport, packets: Packets) -> None:
        super().__init__(name="gpurun-ssh-watch", daemon=True)
        self.silent = False
        """Whether the line was given up because nothing came."""
        self.stalled = False
        """Whether it was, and small packets still came through: the next line should send small segments only."""
        self._packets = packets
        self._transport = transport
        self._stopped = threading.Event()
        self._queued_bytes = 0
        self._ping_thread: threading.Thread | None = None

    def run(self) -> None:
        """Until the line ends, or `stop`."""
        last, last_of_day = time.monotonic(), time.time()
        while not self._stopped.wait(TICK_S) and self._transport.is_active():
            now, now_of_day = time.monotonic(), time.time()
            if self._send_queue_shrank():
                self._packets.heard_at = now
            elif max(now - last, now_of_day - last_of_day) > WOKEN_AFTER_S:
                self._ask_anew(now, stopped_s=now - last)
            last, last_of_day = now, now_of_day
            self._judge(now - self._packets.heard_at)

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def _ask_anew(self, now: float, stopped_s: float) -> None:
        """After Ctrl-Z or a suspended laptop: the time that we slept is no silence, but ask at once who is there."""
        heard_at = self._packets.heard_at + stopped_s
        self._packets.heard_at = min(heard_at, now - PING_AFTER_S)

    def _judge(self, silence_s: float) -> None:
        if silence_s > READ_DEADLINE_S:
            self.silent = True
            self.stalled = _swallows_large_packets(self._transport.sock)
            hang_up(self._transport)
        elif silence_s >= PING_AFTER_S and (self._ping_thread is None or not self._ping_thread.is_alive()):
            # In a thread of its own: a full send buffer blocks the one who writes into it.
            self._ping_thread = threading.Thread(target=self._ping, name="gpurun-ssh-ping", daemon=True)
            self._ping_thread.start()

    def _ping(self) -> None:
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._transport.global_request(REQUEST, wait=True)

    def _send_queue_shrank(self) -> bool:
        """Whether the far side's kernel acknowledged bytes of ours: a slow upload is no dead line."""
        before, self._queued_bytes = self._queued_bytes, _unacknowledged_bytes(self._transport.sock) or 0
        return before - self._queued_bytes > 1024


def hang_up(transport: paramiko.Transport) -> None:
    """End the byte stream below a transport; every thread that reads from or writes to it wakes with an error."""
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        if isinstance(transport.sock, socket.socket):
            transport.sock.shutdown(socket.SHUT_RDWR)
        else:
            transport.sock.close()


def _swallows_large_packets(connection: object) -> bool:
    """Whether a silent line looks like one that drops full-size packets alone: an MTU black hole (RFC 2923).

    Then either a large piece of ours is not acknowledged, or our question is, and its answer waits behind lost data.
    A network that is gone acknowledges no question, and nothing else.
    """
    queued = _unacknowledged_bytes(connection)
    return queued is not None and (queued == 0 or queued > QUESTIONS_BYTES)


def _unacknowledged_bytes(connection: object) -> int | None:
    """In the kernel's send queue; `None` where it cannot be told (tcp(7): SIOCOUTQ, which is TIOCOUTQ)."""
    if sys.platform != "linux" or not isinstance(connection, socket.socket):
        return None
    try:
        return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])
    except (OSError, ValueError):
        return None
