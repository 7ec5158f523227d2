"""The SSH servers of all loopback hosts in one process: `serve` and `stop` come as messages, answers go back."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import asyncssh

from .messages import Messages
from .sshserver import ServerConfig, serve


class Pool:
    """The servers that run, by the host's name."""

    def __init__(self) -> None:
        self._servers: dict[str, asyncssh.SSHAcceptor] = {}

    async def obey(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do what `message` asks; the answer to send back."""
        if message["do"] == "stop":
            return await self._stop(message["name"])
        try:
            server = await serve(ServerConfig(**message["config"]), message["host_key"].encode())
        except (OSError, asyncssh.Error, ValueError) as error:
            return {"error": str(error)}
        self._servers[message["name"]] = server
        return {"port": server.get_port()}

    async def _stop(self, name: str) -> dict[str, Any]:
        server = self._servers.pop(name, None)
        if server:
            server.close()
            await server.wait_closed()
        return {"stopped": bool(server)}


async def _run(messages: Messages) -> None:
    pool = Pool()
    while True:
        message, _ = await asyncio.to_thread(messages.receive)
        if not message:
            return
        messages.send(await pool.obey(message))


def main() -> None:
    """Obey the descriptor that argv names until it closes."""
    asyncio.run(_run(Messages(socket.socket(fileno=int(sys.argv[2])))))
