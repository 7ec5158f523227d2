"""Uploads to a real sshd over a line that is cut again and again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.domain import TransferProgress
from launcher.errors import HostUnreachable
from launcher.send import ATTEMPTS
from launcher.sync.layout import RemoteLayout
from launcher.sync.local import ignore
from launcher.sync.local.tree import scan
from launcher.sync.up import upload
from launcher.sync.wire.lines import Lines

MIB = 1 << 20
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with no farewell."""


class Relay:
    """Carries TCP connections to a port of this machine, counts what goes up, and cuts all of them now and then."""

    def __init__(self, port: int, cut_every_bytes: int, cuts: int) -> None:
        self.sent_bytes = 0
        self.cuts = 0
        self._target = port
        self._every_bytes, self._most_cuts = cut_every_bytes, cuts
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                with self._lock:
                    self._open |= {near, far}
                for source, sink, up in ((near, far, True), (far, near, False)):
                    self._threads.append(threading.Thread(target=self._pump, args=(source, sink, up), daemon=True))
                    self._threads[-1].start()

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if up:
                    self._count(len(data))
                sink.sendall(data)
        for end in (source, sink):
            with self._lock:
                self._open.discard(end)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _count(self, size: int) -> None:
        with self._lock:
            self.sent_bytes += size
            due = self.cuts < self._most_cuts and self.sent_bytes > (self.cuts + 1) * self._every_bytes
            self.cuts += due
        if due:
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def disk() -> Iterator[Path]:
    """In memory where there is room."""
    above = Path("/dev/shm")
    roomy = os.access(above, os.W_OK) and shutil.disk_usage(above).free > 3 << 30
    made = Path(tempfile.mkdtemp(prefix="gpurun-test-", dir=above if roomy else None))
    yield made
    shutil.rmtree(made)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fill(path: Path, size_bytes: int) -> None:
    with path.open("wb") as file:
        for _ in range(size_bytes // MIB):
            file.write(os.urandom(MIB))


@pytest.mark.parametrize(
    ("size_bytes", "cuts", "rtt_s"),
    [
        pytest.param(128 * MIB, 10, 0.001, id="near"),
        pytest.param(1024 * MIB, 50, 0.04, id="far", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
def test_cuts_cost_next_to_nothing(
    disk: Path, make_sshd: Callable[..., Any], size_bytes: int, cuts: int, rtt_s: float
) -> None:
    if shutil.disk_usage(disk).free < 3 * size_bytes:
        pytest.skip("no room for it on this disk")
    sshd = make_sshd(HOME=str(disk))
    sshd.start()
    root, there = disk / "code", disk / RemoteLayout("r").code
    root.mkdir()
    fill(root / "big", size_bytes)
    (root / "small").write_bytes(b"x")
    relay = Relay(sshd.port, size_bytes // (cuts + 1), cuts)
    lines = Lines(sshd.endpoint(port=relay.port))
    lines.rtt_s = rtt_s  # as if measured: several lanes and their windows, or one
    try:
        sent_bytes = push_until_it_holds(lines, root)
    finally:
        lines.close()
        relay.close()
    assert relay.cuts == cuts
    assert digest(there / "big") == digest(root / "big")
    assert (there / "small").read_bytes() == b"x"
    assert size_bytes <= relay.sent_bytes < 1.1 * size_bytes
    assert sent_bytes < 1.1 * size_bytes


def push_until_it_holds(lines: Lines, root: Path) -> int:
    """As a run does: a question that is cut ends an attempt, and the next one goes on. Gives what the last one sent."""

    def silent(progress: TransferProgress) -> None:
        """Nobody watches."""

    for _ in range(ATTEMPTS):
        with contextlib.suppress(HostUnreachable):
            scanned = scan(root, ignore=ignore.nothing())
            return upload.push(lines, scanned, RemoteLayout("r").code, silent, "code").sent_bytes
    raise AssertionError("no attempt came through")
