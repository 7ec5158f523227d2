"""The same connection to a server in pure Python (asyncssh), as on a machine without OpenSSH."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from launcher.domain import Endpoint
from launcher.errors import HostKeyMismatch, HostUnreachable
from launcher.sync.ssh.connection import connect
from launcher.sync.ssh.keys import generate, host_key_of, write_private

USER = "ubuntu"


async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """`echo`: the input back, then status 5; `errors`: more than a window of them; `hang`: until the end."""
    if process.command == "hang":
        await process.stdin.read(1)
    if process.command == "errors":
        process.stderr.write(bytes(6_000_000))
        await process.stderr.drain()
    while process.command == "echo" and (data := await process.stdin.read(1 << 16)):
        process.stdout.write(data)
        await process.stdout.drain()
    process.exit(5)


class Recorder(asyncssh.SSHServer):
    """Keeps the connections that were made, so that they can be cut."""

    def __init__(self, made: list[asyncssh.SSHServerConnection]) -> None:
        self._made = made

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._made.append(conn)


class Server:
    """A server in an event loop of its own, in a thread of its own."""

    def __init__(self, host_private: str, authorized: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._made: list[asyncssh.SSHServerConnection] = []
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._acceptor = self._call(
            asyncssh.create_server(
                lambda: Recorder(self._made),
                "127.0.0.1",
                0,
                server_host_keys=[asyncssh.import_private_key(host_private)],
                authorized_client_keys=asyncssh.import_authorized_keys(authorized),
                process_factory=serve,
                encoding=None,
            )
        )
        self.port = self._acceptor.get_port()

    def _call(self, awaitable):
        async def run():
            return await awaitable

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def abort(self) -> None:
        """Every connection ends, none is taken any more."""
        self._call(self._end())

    async def _end(self) -> None:
        self._acceptor.close()
        for connection in self._made:
            connection.abort()
        await asyncio.gather(*(connection.wait_closed() for connection in self._made))

    def close(self) -> None:
        self.abort()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def server_and_endpoint(tmp_path: Path) -> Iterator[tuple[Server, Endpoint]]:
    host, user = generate("host"), generate("user")
    write_private(tmp_path / "key", user.private_pem)
    server = Server(host.private_pem, user.public_line)
    yield (
        server,
        Endpoint(
            address="127.0.0.1",
            user=USER,
            host_keys=(host_key_of(host.public_line),),
            port=server.port,
            key_file=tmp_path / "key",
            config_file=Path("/dev/null"),
        ),
    )
    server.close()


def test_input_output_and_status_pass(server_and_endpoint: tuple[Server, Endpoint]) -> None:
    _, endpoint = server_and_endpoint
    with connect(endpoint, timeout_s=10) as connection:
        done = connection.run("echo", stdin=bytes(range(256)) * 20_000)
        assert (done.status, done.stdout) == (5, bytes(range(256)) * 20_000)
        flood = connection.run("errors")
        assert (flood.status, flood.stdout, len(flood.stderr)) == (5, b"", 1 << 16)


def test_another_host_key_is_refused(server_and_endpoint: tuple[Server, Endpoint]) -> None:
    _, endpoint = server_and_endpoint
    other = Endpoint(
        address=endpoint.address,
        user=endpoint.user,
        port=endpoint.port,
        key_file=endpoint.key_file,
        config_file=endpoint.config_file,
        host_keys=(host_key_of(generate("other").public_line),),
    )
    with pytest.raises(HostKeyMismatch):
        connect(other, timeout_s=10)


def test_a_server_that_goes_away_wakes_the_reader(server_and_endpoint: tuple[Server, Endpoint]) -> None:
    server, endpoint = server_and_endpoint
    with connect(endpoint, timeout_s=10) as connection:
        stream = connection.open("hang")
        server.abort()
        with pytest.raises(HostUnreachable):
            stream.read(1)
