"""A byte stream to a host that may not be up yet: TCP in staggered attempts, or a ProxyCommand."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from launcher.errors import HostUnreachable
from launcher.sync.ssh.ssh_config import Hop, require_plain

STAGGER_S = 0.25
"""A new SYN that often, whatever became of the last: the kernel's own retries come 1, 3 and 7 s apart."""
ATTEMPT_S = 10.0
NAME_GRACE_S = 5.0
SMALL_SEGMENT_BYTES = 1200
"""With its headers within 1280, which every IPv6 link must carry; said in the SYN, so it binds both sides."""

_PENDING = {errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY}

Waiting = Callable[[str], None]


class NotYet(Exception):
    """The host does not take us at present; trying again may help."""

    def __init__(self, reason: str, *, hint: str = "", stalled: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.stalled = stalled
        """Whether the host spoke and then fell silent: small segments may come through."""


def dial(hop: Hop, *, deadline: float, on_wait: Waiting, small_segments: bool = False) -> socket.socket:
    """A connected socket to a hop's port, as soon as it opens; `deadline` is in `time.monotonic()` seconds.

    `small_segments` has both sides send packets that pass where full-size ones vanish without a word.
    Raises `NotYet`, with the last reason, when the deadline passes; `HostUnreachable` for a name that is none.
    """
    started = time.monotonic()
    attempts = _Attempts(hop, small_segments=small_segments)
    try:
        while time.monotonic() < deadline:
            connected = attempts.step(deadline)
            if connected is not None:
                return prepared(connected)
            on_wait(attempts.reason)
            if attempts.unknown_name and time.monotonic() > started + NAME_GRACE_S:
                raise HostUnreachable(f"{hop.user}@{hop.name}: {attempts.reason}", hint=attempts.hint)
    finally:
        attempts.close()
    raise NotYet(attempts.reason, hint=attempts.hint)


def prepared(connection: socket.socket) -> socket.socket:
    """Small packets at once (paramiko leaves Nagle's algorithm on), and the kernel's own keepalive."""
    connection.setblocking(True)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    quick_ack(connection)
    return connection


def quick_ack(connection: object) -> None:
    """Acknowledge at once: a delayed ACK costs the first message after a pause 40 ms (Linux only; not lasting)."""
    if (
        isinstance(connection, socket.socket)
        and connection.family != socket.AF_UNIX
        and hasattr(socket, "TCP_QUICKACK")
    ):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


@dataclass(slots=True)
class _Attempts:
    """Connection attempts under way, over all addresses of a name in turn."""

    hop: Hop
    small_segments: bool = False
    reason: str = "no answer yet"
    hint: str = ""
    unknown_name: bool = False
    _pending: dict[socket.socket, float] = field(default_factory=dict)
    _round: list[tuple[socket.AddressFamily, tuple[object, ...]]] = field(default_factory=list)
    _next_at: float = 0.0

    def step(self, deadline: float) -> socket.socket | None:
        """Dial if it is time to, then wait for the first success until the next time."""
        connected = None
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + STAGGER_S
            connected = self._start()
        return connected or self._wait(max(0.0, min(self._next_at, deadline) - time.monotonic()))

    def close(self) -> None:
        """Give up whatever is still under way."""
        for pending in self._pending:
            pending.close()
        self._pending.clear()

    def _start(self) -> socket.socket | None:
        if not self._round and not self._resolve():
            return None
        family, address = self._round.pop(0)
        attempt = socket.socket(family, socket.SOCK_STREAM)
        attempt.setblocking(False)
        if self.small_segments:
            attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT_BYTES)
        code = attempt.connect_ex(address)
        if code in _PENDING:
            self._pending[attempt] = time.monotonic()
            return None
        return self._settle(attempt, code)

    def _resolve(self) -> bool:
        try:
            found = socket.getaddrinfo(self.hop.host, self.hop.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            self.unknown_name = getattr(error, "errno", None) == socket.EAI_NONAME or isinstance(error, UnicodeError)
            self.reason = f"the name {self.hop.host!r} is not known ({getattr(error, 'strerror', None) or error})"
            self.hint = f"check the name: ping -c 1 {self.hop.host}"
            self._next_at = time.monotonic() + 4 * STAGGER_S
            return False
        self._round = [(family, address) for family, _, _, _, address in found]
        return True

    def _wait(self, timeout_s: float) -> socket.socket | None:
        _, ready, _ = select.select([], list(self._pending), [], timeout_s)
        for attempt in ready:
            del self._pending[attempt]
            connected = self._settle(attempt, attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            if connected is not None:
                return connected
        self._expire()
        return None

    def _settle(self, attempt: socket.socket, code: int) -> socket.socket | None:
        if code == 0 and _reaches_another(attempt):
            return attempt
        attempt.close()
        self._explain(code or errno.ECONNREFUSED)
        if self._round:
            self._next_at = 0.0
        return None

    def _expire(self) -> None:
        for attempt in [a for a, since in self._pending.items() if time.monotonic() > since + ATTEMPT_S]:
            attempt.close()
            del self._pending[attempt]
        if self._pending and min(self._pending.values()) < time.monotonic() - 4 * STAGGER_S:
            self._explain(errno.ETIMEDOUT)

    def _explain(self, code: int) -> None:
        if code == errno.ECONNREFUSED:
            self.reason = "connection refused (the machine is up, its SSH server is not yet)"
            self.hint = "gpurun status shows whether the machine still runs"
        elif code == errno.ETIMEDOUT:
            self.reason = "no answer (not booted yet, or a firewall drops the connection)"
            self.hint = "gpurun doctor checks the way from here to the machine"
        else:
            self.reason = os.strerror(code).lower()
            self.hint = "check this computer's own network connection"


def _reaches_another(attempt: socket.socket) -> bool:
    """A port in the ephemeral range can be dialled from itself and "answer" (RFC 9293, simultaneous open)."""
    try:
        return bool(attempt.getsockname() != attempt.getpeername())
    except OSError:
        return False  # reset again already


@dataclass(frozen=True, slots=True)
class ProxyProcess:
    """A running ProxyCommand and our end of the socket that is its standard input and output."""

    connection: socket.socket
    process: subprocess.Popen[bytes]

    def close(self) -> None:
        """End it, and whatever it started."""
        self.connection.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()


def start_proxy_command(hop: Hop) -> ProxyProcess:
    """Run a hop's ProxyCommand in a shell of its own, as OpenSSH does; raises `SpecError` for an unsafe host name."""
    require_plain(hop)
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {hop.proxy_command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return ProxyProcess(ours, process)
