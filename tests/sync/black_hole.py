"""Two network namespaces with a hub between them that drops full-size packets and says nothing; run in the first.

The far one holds an SSH server in pure Python, which needs no privilege. What happened is printed as JSON.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import asyncssh

from launcher.domain import Endpoint
from launcher.errors import HostUnreachable
from launcher.sync.ssh import transport, watch
from launcher.sync.ssh.connection import SshConnection, connect
from launcher.sync.ssh.keys import generate, host_key_of, write_private

NEAR, FAR = "10.9.8.1", "10.9.8.2"
PORT, WORDY_PORT = 2222, 2223
SIZE_BYTES = 5_000_000
# veth takes a packet that the sender left for its card to cut, however long: gso_max_segs 1 has TCP cut them itself.
NEAR_LINKS = f"""\
link set lo up
link add near0 type veth peer name near1
link add far1 type veth peer name far0
link add hub type bridge
link set near0 gso_max_segs 1
link set near1 master hub
link set far1 master hub
link set far1 mtu 1280
link set far0 netns {{far}}
addr add {NEAR}/24 dev near0
link set near0 up
link set near1 up
link set far1 up
link set hub up
"""
FAR_LINKS = f"""\
link set lo up
link set far0 gso_max_segs 1
addr add {FAR}/24 dev far0
link set far0 up
"""


def ip(lines: str) -> None:
    for line in lines.splitlines():
        subprocess.run(["ip", *line.split()], check=True)


async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """`small`: a word; `take`: the length of the input; `give`: output."""
    if process.command == "take":
        size = 0
        while data := await process.stdin.read(1 << 16):
            size += len(data)
        process.stdout.write(b"%d" % size)
    elif process.command == "give":
        process.stdout.write(bytes(SIZE_BYTES))
    else:
        process.stdout.write(b"small")
    await process.stdout.drain()
    process.exit(0)


async def far_side(host_private: str, authorized: str) -> None:
    few = {
        "kex_algs": ["curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"],
        "encryption_algs": ["aes128-gcm@openssh.com"],
    }
    for port, algorithms in ((PORT, few), (WORDY_PORT, {})):
        await asyncssh.create_server(
            asyncssh.SSHServer,
            FAR,
            port,
            server_host_keys=[asyncssh.import_private_key(host_private)],
            authorized_client_keys=asyncssh.import_authorized_keys(authorized),
            process_factory=serve,
            encoding=None,
            **algorithms,
        )
    print("listening", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def far() -> None:
    print("up", flush=True)
    keys = json.loads(sys.stdin.readline())
    ip(FAR_LINKS)
    asyncio.run(far_side(keys["host"], keys["user"]))


def upload(connection: SshConnection) -> bool:
    stream = connection.open("take")
    stream.write(bytes(SIZE_BYTES))
    return stream.finish().stdout == b"%d" % SIZE_BYTES


def download(connection: SshConnection) -> bool:
    return len(connection.open("give").finish().stdout) == SIZE_BYTES


def seen(endpoint: Endpoint, work, *, small_segments: bool) -> dict[str, object]:
    """How `work` fares on a connection of its own."""
    with connect(endpoint, timeout_s=20, small_segments=small_segments) as connection:
        segment_bytes = connection._secured.transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        done = connection.run("small").stdout == b"small"
        began = time.monotonic()
        try:
            whole, lost = work(connection), ""
        except HostUnreachable as error:
            whole, lost = False, error.message
        return {
            "segment_bytes": segment_bytes,
            "small": done,
            "whole": whole,
            "lost": lost,
            "seconds": time.monotonic() - began,
            "stalled": connection.stalled,
        }


def cut(connection: SshConnection) -> bool:
    """The network goes away altogether."""
    ip("link set far1 down")
    stream = connection.open("take")
    return bool(stream.read(1))


def near(folder: Path) -> None:
    host, user = generate("host"), generate("user")
    write_private(folder / "key", user.private_pem)
    (folder / "no_config").write_text("")
    child = subprocess.Popen(
        ["unshare", "-n", sys.executable, __file__, "far"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin
    assert child.stdout
    try:
        assert child.stdout.readline() == "up\n"
        ip(NEAR_LINKS.format(far=child.pid))
        child.stdin.write(json.dumps({"host": host.private_pem, "user": user.public_line}) + "\n")
        child.stdin.flush()
        assert child.stdout.readline() == "listening\n"
        endpoint = Endpoint(
            address=FAR,
            user="ubuntu",
            port=PORT,
            host_keys=(host_key_of(host.public_line),),
            key_file=folder / "key",
            config_file=folder / "no_config",
        )
        watch.PING_AFTER_S, watch.READ_DEADLINE_S = 1.0, 3.0
        transport.HANDSHAKE_TIMEOUT_S = 3.0
        result = {
            f"{work.__name__} {'small' if small else 'full'}": seen(endpoint, work, small_segments=small)
            for work in (upload, download)
            for small in (False, True)
        }
        # The longer list of algorithms is a full-size packet of its own.
        wordy = replace(endpoint, port=WORDY_PORT)
        result["handshake"] = seen(wordy, upload, small_segments=False)
        result["cut"] = seen(endpoint, cut, small_segments=False)
        print(json.dumps(result))
    finally:
        child.stdin.close()
        child.stdout.close()
        child.wait(10)


if __name__ == "__main__":
    far() if sys.argv[1] == "far" else near(Path(sys.argv[1]))
