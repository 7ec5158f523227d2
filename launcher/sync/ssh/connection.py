"""The line to a run's machine: one SSH connection, its host key pinned, reopened when it dies."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Self

from launcher.domain import Endpoint, HostKey
from launcher.errors import HostUnreachable, RemoteError
from launcher.ports import Completed, Stream
from launcher.sync.ssh.channel import SshStream
from launcher.sync.ssh.dial import NotYet, dial, start_proxy_command
from launcher.sync.ssh.identities import Unlocked
from launcher.sync.ssh.lean import paramiko
from launcher.sync.ssh.ssh_config import Hop, Route, resolve
from launcher.sync.ssh.transport import Refused, Secured, secured, show_key
from launcher.sync.ssh.trusted_hosts import known_keys

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 1.0
AUTH_GRACE_S = 60.0
"""sshd can listen before cloud-init has written authorized_keys; after that long a refusal is meant."""
OPEN_TIMEOUT_S = 20.0
INLINE_STDIN_BYTES = 1 << 16


class SshConnection:
    """`ports.Connection` over paramiko; streams on it may be used from several threads at once."""

    def __init__(self, secured: Secured, name: str, below: ExitStack) -> None:
        self._secured = secured
        self._name = name
        self._below = below
        self.idle: list[Stream] = []

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        """Run a shell command to its end.

        Raises `HostUnreachable` on a dead line, `CommandFailed` (status 124) when it takes longer than `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        stream = self.open(command)
        try:
            if len(stdin) <= INLINE_STDIN_BYTES:
                _feed(stream, stdin)
            else:
                threading.Thread(target=_feed, args=(stream, stdin), daemon=True).start()
            return stream.collect(deadline)
        finally:
            stream.close()

    def open(self, command: str) -> SshStream:
        """Start a shell command; raises `HostUnreachable`, or `RemoteError` where sshd allows no more sessions."""
        channel = self.session()
        try:
            channel.exec_command(command.encode("utf-8", errors="surrogateescape"))
        except (paramiko.SSHException, EOFError, OSError):
            raise self._lost() from None
        return SshStream(channel, command, self._lost)

    def subsystem(self, name: str) -> SshStream | None:
        """Start a subsystem, such as `sftp`; `None` where the server has none; raises as `open` does."""
        channel = self.session()
        try:
            channel.invoke_subsystem(name)
        except (paramiko.SSHException, EOFError, OSError):
            channel.close()
            if self.alive():
                return None
            raise self._lost() from None
        return SshStream(channel, name, self._lost)

    def session(self) -> paramiko.Channel:
        """An empty session, for a terminal; raises as `open` does."""
        try:
            return self._secured.transport.open_session(timeout=OPEN_TIMEOUT_S)
        except paramiko.ChannelException as error:
            raise RemoteError(
                f"{self._name} opens no further session on this connection: {error.text}",
                hint="sshd_config's MaxSessions is 10 unless it was set",
            ) from None
        except (paramiko.SSHException, EOFError, OSError):
            raise self._lost() from None

    def alive(self) -> bool:
        """Whether the line answers, as far as is known without asking."""
        return self._secured.transport.is_active() and not self._secured.watch.silent

    @property
    def stalled(self) -> bool:
        """Whether the line died as one does that lets small packets pass alone: see `connect`'s `small_segments`."""
        return self._secured.watch.stalled

    def close(self) -> None:
        """Hang up; every stream on the connection ends with `HostUnreachable`."""
        self._secured.close()
        self._below.close()

    def __enter__(self) -> Self:
        """The connection itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Hang up."""
        self.close()

    def _lost(self) -> HostUnreachable:
        reason = "stopped answering" if self._secured.watch.silent else "hung up, or the network did"
        return HostUnreachable(
            f"the connection to {self._name} is lost: it {reason}",
            hint="gpurun logs RUN -f goes on where the log broke off; gpurun status shows the machine",
        )


def connect(
    endpoint: Endpoint,
    *,
    timeout_s: float,
    on_wait: Callable[[str], None] | None = None,
    auth_grace_s: float = AUTH_GRACE_S,
    unlocked: Unlocked | None = None,
    small_segments: bool = False,
) -> SshConnection:
    """Log in to a machine that may still be booting; `on_wait` is told each new reason for waiting.

    `small_segments` is for a host to which an earlier line died `stalled`.
    Tries for `timeout_s`, but for `auth_grace_s` at most where the machine refuses the key.
    Raises `HostKeyMismatch` at once when another key than the pinned is shown, before anything is said of the user;
    `HostUnreachable` when time is up; `SpecError` for keys or an ssh_config that cannot be used.
    """
    route = resolve(endpoint)
    patience = _Patience(timeout_s, auth_grace_s, on_wait)
    patience.small_segments = small_segments
    unlocked = {} if unlocked is None else unlocked
    while True:
        with ExitStack() as below:
            try:
                line = _reach(route, endpoint.host_keys, patience, below, unlocked)
                return SshConnection(line, f"{route.target.user}@{endpoint.address}", below.pop_all())
            except NotYet as failure:
                failed = failure
        patience.wait_or_raise(failed, route.target)


def shown_key(endpoint: Endpoint, *, timeout_s: float) -> HostKey:
    """The key that a host shows to whoever asks, before anything is said of the user; for him to judge.

    Those of the jump hosts before it must be known. Raises as `connect` does.
    """
    route = resolve(endpoint)
    patience = _Patience(timeout_s, AUTH_GRACE_S, None)
    unlocked: Unlocked = {}
    while True:
        with ExitStack() as below:
            try:
                before = _reach_jumps(route, patience, below, unlocked)
                return show_key(_stream(before, route.target, patience, below), deadline=patience.deadline)
            except NotYet as failure:
                failed = failure
        patience.wait_or_raise(failed, route.target)


def _reach(
    route: Route, pinned: Sequence[HostKey], patience: _Patience, below: ExitStack, unlocked: Unlocked
) -> Secured:
    """One attempt along the whole route; `below` closes what lies under the last transport."""
    before = _reach_jumps(route, patience, below, unlocked)
    return _step(before, route.target, pinned, patience, below, unlocked)


def _reach_jumps(route: Route, patience: _Patience, below: ExitStack, unlocked: Unlocked) -> Secured | None:
    before: Secured | None = None
    for hop in route.jumps:
        before = _step(before, hop, known_keys(hop), patience, below, unlocked)
        below.callback(before.close)
    return before


def _step(
    before: Secured | None,
    hop: Hop,
    pinned: Sequence[HostKey],
    patience: _Patience,
    below: ExitStack,
    unlocked: Unlocked,
) -> Secured:
    stream = _stream(before, hop, patience, below)
    return secured(stream, hop, pinned, deadline=patience.deadline, unlocked=unlocked)


def _stream(
    before: Secured | None, hop: Hop, patience: _Patience, below: ExitStack
) -> socket.socket | paramiko.Channel:
    if before is not None:
        return _through(before.transport, hop)
    if hop.proxy_command:
        proxy = start_proxy_command(hop)
        below.callback(proxy.close)
        return proxy.connection
    return dial(hop, deadline=patience.deadline, on_wait=patience.tell, small_segments=patience.small_segments)


def _through(before: paramiko.Transport, hop: Hop) -> paramiko.Channel:
    try:
        return before.open_channel("direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=OPEN_TIMEOUT_S)
    except paramiko.ChannelException as error:
        raise NotYet(f"the jump host cannot reach it: {error.text.lower()}") from None
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise NotYet(f"the jump host hung up: {error}") from None


class _Patience:
    """How long to go on trying, how often, and what was said of it."""

    def __init__(self, timeout_s: float, auth_grace_s: float, on_wait: Callable[[str], None] | None) -> None:
        self.deadline = time.monotonic() + timeout_s
        self.small_segments = False
        self._timeout_s = timeout_s
        self._auth_grace_s = auth_grace_s
        self._on_wait = on_wait
        self._said = ""
        self._pause_s = FIRST_PAUSE_S

    def tell(self, reason: str) -> None:
        """Pass a reason on where it is a new one."""
        if self._on_wait is not None and reason != self._said:
            self._on_wait(reason)
        self._said = reason

    def wait_or_raise(self, failure: NotYet, target: Hop) -> None:
        """Pause before the next attempt, or raise `HostUnreachable` when there is no time for one."""
        self.tell(failure.reason)
        self.small_segments |= failure.stalled
        if isinstance(failure, Refused):
            self.deadline = min(self.deadline, time.monotonic() + self._auth_grace_s)
            self._auth_grace_s = float("inf")
        if time.monotonic() + self._pause_s >= self.deadline:
            raise HostUnreachable(
                f"{target.user}@{target.name} could not be reached by SSH "
                f"(port {target.port}) within {self._timeout_s:.0f} s: {failure.reason}",
                hint=failure.hint or "gpurun status shows whether the machine still runs",
            )
        time.sleep(self._pause_s)  # nobody is told when a port opens
        self._pause_s = min(self._pause_s * 1.5, LONGEST_PAUSE_S)


def _feed(stream: SshStream, data: bytes) -> None:
    """Write a command's whole input; one that ends early, or a dead line, shows when its output is read."""
    try:
        stream.write(data)
        stream.close_input()
    except RemoteError:
        return


class Line:
    """The connection to one machine, whichever is the present one: reopened when it died."""

    def __init__(
        self, endpoint: Endpoint, *, connect_timeout_s: float = 30.0, unlocked: Unlocked | None = None
    ) -> None:
        self.endpoint = endpoint
        self._connect_timeout_s = connect_timeout_s
        self._connection: SshConnection | None = None
        self._unlocked: Unlocked = {} if unlocked is None else unlocked
        self._small_segments = False
        self._lock = threading.Lock()

    def current(self) -> SshConnection:
        """The present connection, dead or alive; opened where there was none."""
        with self._lock:
            if self._connection is None:
                self._connection = self._open(self._connect_timeout_s)
            return self._connection

    def fresh(self, timeout_s: float) -> SshConnection:
        """A live connection: the present one, or a new one where that has died; raises as `connect` does."""
        with self._lock:
            if self._connection is not None and self._connection.alive():
                return self._connection
            if self._connection is not None:
                # A path that swallows full-size packets lets the handshake pass and nothing that follows.
                self._small_segments |= self._connection.stalled
                self._connection.close()
            self._connection = self._open(timeout_s)
            return self._connection

    def close(self) -> None:
        """Hang up; `fresh` would open anew."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _open(self, timeout_s: float) -> SshConnection:
        return connect(self.endpoint, timeout_s=timeout_s, unlocked=self._unlocked, small_segments=self._small_segments)
