"""A line that can be cut."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Self


class Relay:
    """A TCP relay that can be cut: bytes stall both ways and nothing is reset."""

    def __init__(self, target: int, bytes_per_s: int | None = None) -> None:
        self.cut = threading.Event()
        self._target = target
        self._rate = bytes_per_s
        self._server = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def __enter__(self) -> Self:
        self._go(self._accept)
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for end in self._ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(5)
        for end in self._ends:
            end.close()

    def _go(self, target: Callable, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        if self._rate:
            self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._ends += [near, far]
            self._go(self._carry, near, far, self._rate)
            self._go(self._carry, far, near, None)

    def _carry(self, source: socket.socket, sink: socket.socket, rate: int | None) -> None:
        mine = not self.cut.is_set()
        try:
            while data := source.recv(4096 if rate else 65536):
                if self.cut.is_set():
                    mine = False
                if not mine:
                    continue
                if rate:
                    time.sleep(len(data) / rate)  # which makes the rate
                sink.sendall(data)
            if mine:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            return
