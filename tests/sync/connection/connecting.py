"""A connection to a server on loopback."""

from __future__ import annotations

from launcher.sync.ssh.connection import SshConnection, connect

# The server's account may start slowly (a shell's start-up files); nothing here measures that.
TIMEOUT_S = 20.0


def connected(sshd, **changes) -> SshConnection:
    return connect(sshd.endpoint(**changes), timeout_s=TIMEOUT_S)
