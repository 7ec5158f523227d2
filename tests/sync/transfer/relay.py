"""A network that breaks: a TCP relay that cuts everything it carries now and then."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with no farewell."""


class Relay:
    """Carries TCP connections to a port of this machine, counts what goes up or what comes back, and cuts them all."""

    def __init__(self, port: int, cut_every_bytes: int, cuts: int, *, counts_up: bool) -> None:
        self.carried_bytes = 0
        """The way that is counted."""
        self.cuts = 0
        self._target = port
        self._every_bytes, self._most_cuts, self._counts_up = cut_every_bytes, cuts, counts_up
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

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
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
                self._start(self._pump, near, far, self._counts_up)
                self._start(self._pump, far, near, not self._counts_up)

    def _pump(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if counts:
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
            self.carried_bytes += size
            due = self.cuts < self._most_cuts and self.carried_bytes > (self.cuts + 1) * self._every_bytes
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
