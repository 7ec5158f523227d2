"""An SSH server in pure Python for one host: commands, shells with a terminal, SFTP, scp, forwarding.

The measured traps it avoids: output is pumped by hand (asyncssh's `redirect` can lose the end of it), and SFTP ends
with an exit status, without which `scp` reports a failure.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

import asyncssh

from .session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """What one host's server needs; paths are the laptop's."""

    port: int
    home: str
    shown_home: str
    """What SFTP and the guest call the home."""
    authorized_keys: str
    environment: dict[str, str]
    address: str = ""


class Front(asyncssh.SSHServer):
    """Lets in who has a key of authorized_keys, read afresh each time as sshd does."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Remember the connection."""
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        """Ask for a key, always."""
        try:
            keys = asyncssh.read_authorized_keys(self._config.authorized_keys)
        except (OSError, ValueError):
            return True
        if username == "ubuntu" and self._connection:
            self._connection.set_authorized_keys(keys)
        return True

    def connection_requested(self, *_: object) -> bool:
        """Allow `ssh -L`."""
        return True


class Files(asyncssh.SFTPServer):
    """The laptop's files with the host's own home in the place of /home/ubuntu."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], config: ServerConfig) -> None:
        super().__init__(channel)
        self._home = os.fsencode(config.home)
        self._shown = os.fsencode(config.shown_home)

    def map_path(self, path: bytes) -> bytes:
        """Where the guest's `path` lies."""
        whole = os.path.normpath(os.path.join(self._shown, path))  # noqa: PTH118 - bytes, any bytes
        return _moved(whole, self._shown, self._home)

    def reverse_map_path(self, path: bytes) -> bytes:
        """What the guest calls `path`."""
        return _moved(path, self._home, self._shown)

    def exit(self) -> None:
        """End with a status, as sftp-server does."""
        self.channel.exit(0)


def _moved(path: bytes, old: bytes, new: bytes) -> bytes:
    inside = path == old or path.startswith(old + b"/")
    return new + path[len(old) :] if inside else path


async def serve(config: ServerConfig, host_key: bytes) -> asyncssh.SSHAcceptor:
    """Listen; an empty `host_key` means a fresh one."""
    key = asyncssh.import_private_key(host_key) if host_key.strip() else asyncssh.generate_private_key("ssh-ed25519")
    return await asyncssh.listen(
        config.address,
        config.port,
        server_factory=lambda: Front(config),
        server_host_keys=[key],
        process_factory=lambda process: Session(process, config.environment, config.home).run(),
        sftp_factory=lambda channel: Files(channel, config),
        allow_scp=True,
        encoding=None,
        line_editor=False,
        gss_host=None,
        # OpenSSH's order: without it asyncssh picks ChaCha20, which Python drives at half the speed.
        encryption_algs=["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr"],
        login_timeout=120,
    )


def main() -> None:
    """Serve one host whose configuration is in argv and whose host key is on standard input."""
    config: dict[str, Any] = json.loads(sys.argv[2])
    host_key = sys.stdin.buffer.read()

    async def forever() -> None:
        await (await serve(ServerConfig(**config), host_key)).wait_closed()

    asyncio.run(forever())
