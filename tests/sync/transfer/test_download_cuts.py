"""Downloads from a real sshd over a line that is cut again and again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from launcher.domain import TransferProgress
from launcher.sync.down import download
from launcher.sync.layout import RemoteLayout
from launcher.sync.wire.lines import Lines

MIB = 1 << 20
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with no farewell."""


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


class Relay:
    """Carries TCP connections to a port of this machine, counts what comes back, and cuts all of them now and then."""

    def __init__(self, port: int, cut_every_bytes: int, cuts: int) -> None:
        self.received_bytes = 0
        self.cuts = 0
        self._target = port
        self._every_bytes, self._most_cuts = cut_every_bytes, cuts
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()
        for thread in list(self._threads):
            thread.join(10)

    def _start(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                with self._lock:
                    self._open |= {near, far}
                self._start(self._pump, near, far, False)
                self._start(self._pump, far, near, True)

    def _pump(self, source: socket.socket, sink: socket.socket, back: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
                if back:
                    self._count(len(data))
        for end in (source, sink):
            with self._lock:
                self._open.discard(end)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _count(self, size: int) -> None:
        with self._lock:
            self.received_bytes += size
            due = self.cuts < self._most_cuts and self.received_bytes > (self.cuts + 1) * self._every_bytes
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


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fill(path: Path, size_bytes: int) -> None:
    with path.open("wb") as file:
        for _ in range(size_bytes // MIB):
            file.write(os.urandom(MIB))


@pytest.mark.parametrize(
    ("size_bytes", "cuts"),
    [(96 * MIB, 12), pytest.param(1024 * MIB, 50, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
def test_cuts_cost_next_to_nothing(tmp_path: Path, sshd: Any, layout: RemoteLayout, size_bytes: int, cuts: int) -> None:
    there = sshd.home / layout.output
    there.mkdir(parents=True)
    fill(there / "big", size_bytes)
    (there / "small").write_bytes(b"x")
    relay = Relay(sshd.port, size_bytes // (cuts + 1), cuts)
    lines = Lines(sshd.endpoint(port=relay.port))
    try:
        download.pull(lines, layout.output, tmp_path / "home", silent, "results")
    finally:
        lines.close()
        relay.close()
    assert relay.cuts == cuts
    assert digest(tmp_path / "home/big") == digest(there / "big")
    assert relay.received_bytes < 1.1 * size_bytes


def test_the_way_home_over_ssh(tmp_path: Path, sshd: Any, layout: RemoteLayout) -> None:
    there = sshd.home / layout.output
    there.mkdir(parents=True)
    for number in range(500):
        path = there / str(number % 7) / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(number * 30))
    fill(there / "weights", 8 * MIB)
    lines = Lines(sshd.endpoint())
    try:
        found = download.pull(lines, layout.output, tmp_path / "home", silent, "results")
        seen: list[TransferProgress] = []
        download.pull(lines, layout.output, tmp_path / "home", seen.append, "results")
    finally:
        lines.close()
    assert len(found.entries) == 508
    for path in there.rglob("*"):
        home = tmp_path / "home" / path.relative_to(there)
        assert home.is_dir() if path.is_dir() else home.read_bytes() == path.read_bytes()
    assert seen[-1].reused_bytes == found.size_bytes
    assert seen[-1].sent_bytes == 0
