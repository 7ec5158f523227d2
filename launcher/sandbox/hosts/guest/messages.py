"""JSON messages with descriptors beside them, over one Unix stream socket (unix(7), SCM_RIGHTS)."""

from __future__ import annotations

import json
import socket
from collections import deque
from typing import Any

CHUNK_BYTES = 1 << 16
DESCRIPTORS = 4
CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Messages:
    """One end; messages are lines, each of which says how many descriptors come with it.

    Sending is safe from several processes that share the socket, since each message goes in one call.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._text = b""
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        """For poll(2)."""
        return self._line.fileno()

    def send(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Send all of `message`; raises `OSError` when nobody is there."""
        passed = descriptors or []
        data = json.dumps({**message, "descriptors": len(passed)}).encode() + b"\n"
        sent = socket.send_fds(self._line, [data], passed) if passed else 0
        self._line.sendall(data[sent:])

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """The next message and its descriptors; an empty message when the other end is gone."""
        while b"\n" not in self._text:
            try:
                text, descriptors, _, _ = socket.recv_fds(self._line, CHUNK_BYTES, DESCRIPTORS, CLOSE_ON_EXEC)
            except OSError:
                text, descriptors = b"", []
            if not text:
                return {}, []
            self._text += text
            self._descriptors.extend(descriptors)
        first, _, self._text = self._text.partition(b"\n")
        message: dict[str, Any] = json.loads(first)
        return message, [self._descriptors.popleft() for _ in range(message["descriptors"])]

    @property
    def waiting(self) -> bool:
        """Whether a whole message was received that `receive` has not given yet."""
        return b"\n" in self._text

    def close(self) -> None:
        """Drop this end."""
        self._line.close()
