"""The relay between two sockets, on its own."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from launcher.sandbox.hosts.relay import Wire


@pytest.fixture
def wire() -> Iterator[tuple[Wire, socket.socket, socket.socket]]:
    """A wire and the two ends of one relayed connection."""
    made = Wire()
    with contextlib.ExitStack() as stack:
        ends = []
        for _ in range(2):
            with socket.create_server(("127.0.0.1", 0)) as server:
                outer = stack.enter_context(socket.create_connection(server.getsockname(), 10))
                ends.append((outer, server.accept()[0]))
        (near, inner_near), (far, inner_far) = ends
        relay = threading.Thread(target=made.join, args=(inner_near, inner_far))
        relay.start()
        yield made, near, far
        made.close()
        relay.join(10)
        assert not relay.is_alive()


def _all(line: socket.socket) -> bytes:
    return b"".join(iter(lambda: line.recv(1 << 20), b""))


def test_one_direction_may_end_before_the_other(wire: tuple[Wire, socket.socket, socket.socket]) -> None:
    _, near, far = wire
    data = os.urandom(5_000_000)
    sender = threading.Thread(target=lambda: (near.sendall(data), near.shutdown(socket.SHUT_WR)))
    sender.start()
    assert _all(far) == data
    sender.join()
    far.sendall(b"an answer after the end")
    far.close()
    assert _all(near) == b"an answer after the end"


def test_a_reset_on_one_side_is_one_on_the_other(wire: tuple[Wire, socket.socket, socket.socket]) -> None:
    _, near, far = wire
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    near.close()
    with pytest.raises(ConnectionResetError):
        _all(far)


def test_what_was_sent_while_cut_arrives_when_healed(wire: tuple[Wire, socket.socket, socket.socket]) -> None:
    made, near, far = wire
    made.cut(cut=True)
    near.sendall(b"patience")
    far.settimeout(0.3)
    with pytest.raises(TimeoutError):
        far.recv(9)
    made.cut(cut=False)
    far.settimeout(10)
    assert far.recv(9) == b"patience"
