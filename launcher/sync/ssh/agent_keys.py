"""The user's ssh-agent: which keys it holds, and signatures with them."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from launcher.sync.ssh.lean import paramiko

if TYPE_CHECKING:
    from collections.abc import Iterator

AGENT_DEADLINE_S = 30.0
"""Long enough for a person to touch a security key."""


@contextmanager
def agent(identity_agent: str | None = None) -> Iterator[tuple[paramiko.AgentKey, ...]]:
    """The agent's keys, usable inside the block; none where there is no agent or it does not answer.

    `identity_agent` is ssh_config's IdentityAgent: a socket's path, `SSH_AUTH_SOCK`, `$VARIABLE` or `none`.
    """
    connection = _connect(_socket_path(identity_agent))
    if connection is None:
        yield ()
        return
    with connection:
        yield _keys(connection)


def holds(public_line: str, identity_agent: str | None = None) -> bool:
    """Whether the agent has the private half of a public key line."""
    blob = public_line.split()[1]
    with agent(identity_agent) as keys:
        return any(key.get_base64() == blob for key in keys)


def _socket_path(identity_agent: str | None) -> str | None:
    if identity_agent is None or identity_agent == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK")
    if identity_agent.lower() == "none":
        return None
    if identity_agent.startswith("$"):
        return os.environ.get(identity_agent.strip("${}"))
    return os.path.expanduser(identity_agent)  # noqa: PTH111  # a socket's name, passed on as it is


def _connect(path: str | None) -> socket.socket | None:
    if not path:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(AGENT_DEADLINE_S)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection


def _keys(connection: socket.socket) -> tuple[paramiko.AgentKey, ...]:
    client = paramiko.agent.AgentSSH()
    try:
        # paramiko's public class finds an agent by SSH_AUTH_SOCK alone, and IdentityAgent may name another.
        client._connect(connection)  # type: ignore[attr-defined]  # left out of its type stubs
    except (OSError, paramiko.SSHException):
        return ()
    return client.get_keys()
