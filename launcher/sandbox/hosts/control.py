"""The daemon's end of the socket to a namespace host's first process."""

from __future__ import annotations

import json
import queue
import socket
import threading
from typing import Any

MESSAGE_BYTES = 1 << 20
ANSWER_WAIT_S = 10.0


class Control:
    """Reads what the host's first process says, in order, and asks it for sockets."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._sockets: queue.SimpleQueue[socket.socket | None] = queue.SimpleQueue()

    def configure(self, config: dict[str, Any]) -> None:
        """Send the first message."""
        self._line.send(json.dumps(config).encode())

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """The next event and the descriptors that came with it; an empty event once the process is gone."""
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._line, MESSAGE_BYTES, 4)
            except OSError:
                message, descriptors = b"", []
            event: dict[str, Any] = json.loads(message) if message else {}
            if event.get("event") == "socket":
                self._sockets.put(socket.socket(fileno=descriptors[0]))
                continue
            if not event:
                self._sockets.put(None)
            return event, descriptors

    def fresh_socket(self) -> socket.socket:
        """An unconnected TCP socket of the host's network; raises `OSError` when the host is gone."""
        with self._lock:
            self._line.send(b'{"do": "socket"}')
            try:
                fresh = self._sockets.get(timeout=ANSWER_WAIT_S)
            except queue.Empty:
                fresh = None
        if fresh is None:
            raise ConnectionError("the host is gone")
        return fresh

    def close(self) -> None:
        """Drop the socket."""
        self._line.close()
