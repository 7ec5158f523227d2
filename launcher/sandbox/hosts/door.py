"""The way to a host's port 22: a port on the laptop's 127.0.0.1, behind the security groups and the wire."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from launcher.sandbox.hosts.relay import Wire
from launcher.sandbox.hosts.switchboard import Switchboard

SSH_PORT = 22
ADMISSION_POLL_MS = 200
HANG_UP = select.POLLERR | select.POLLHUP | getattr(select, "POLLRDHUP", 0)


class Door:
    """One listener of one host; closed as a closed port is until `open`."""

    def __init__(
        self,
        *,
        switchboard: Switchboard,
        wire: Wire,
        admits: Callable[[str, int], bool],
        dial: Callable[[], socket.socket],
    ) -> None:
        self._switchboard = switchboard
        self._wire = wire
        self._admits = admits
        self._dial = dial
        self._listener = socket.socket()
        # Bound but not listening: the port is ours already, and still refuses.
        self._listener.bind(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def open(self) -> None:
        """The host's sshd listens from now on."""
        self._listener.listen(512)
        self._switchboard.answer(self._listener, self._enter)

    def close(self) -> None:
        """Refuse from now on; connections that are through are the wire's."""
        self._switchboard.hang_up(self._listener)

    def _enter(self, line: socket.socket, peer: str) -> None:
        self._wire.hold(line)
        try:
            if self._await_admission(line, peer):
                self._wire.wait_whole()
                self._wire.join(line, self._dial())
        except OSError:
            # The host died or its sshd is gone: the caller sees its connection end.
            return
        finally:
            self._wire.drop(line)

    def _await_admission(self, line: socket.socket, peer: str) -> bool:
        """A group that does not admit drops packets: the caller hears nothing, and gets in once the rule is there."""
        patience = select.poll()
        patience.register(line, HANG_UP & ~(select.POLLERR | select.POLLHUP))
        while not self._admits(peer, SSH_PORT):
            if self._wire.closed or patience.poll(ADMISSION_POLL_MS):
                return False
        return not self._wire.closed
