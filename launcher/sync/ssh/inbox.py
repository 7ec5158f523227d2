"""What has come on a channel and is not read yet."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Protocol

from launcher.sync.ssh.lean import paramiko


class Signal(Protocol):
    """What makes a channel readable to select(2)."""

    def set(self) -> None:
        """There is something to read."""

    def clear(self) -> None:
        """There is nothing to read."""


class Inbox:
    """In the place of paramiko's buffer, which copies each byte three times and moves all that is left at each read."""

    def __init__(self) -> None:
        self._pieces: deque[memoryview] = deque()
        self._size_bytes = 0
        self._changed = threading.Condition(threading.Lock())
        self._closed = False
        self._signal: Signal | None = None

    def __len__(self) -> int:
        return self._size_bytes

    def set_event(self, event: Signal) -> None:
        """Keep `event` set while a read would not wait."""
        with self._changed:
            self._signal = event
            self._tell()

    def feed(self, data: bytes | memoryview) -> None:
        """Append `data`, which must not change any more."""
        if not data:
            return
        with self._changed:
            self._pieces.append(memoryview(data))
            self._size_bytes += len(data)
            self._changed.notify()
            self._tell()

    def read_ready(self) -> bool:
        """Whether there is something to read."""
        return self._size_bytes > 0

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        """Up to `nbytes`, empty at the end; raises `PipeTimeout` where nothing comes within `timeout` seconds."""
        with self._changed:
            self._await(timeout)
            data = self._pop(nbytes)
            self._tell()
            return data

    def empty(self) -> bytes:
        """All that has come."""
        with self._changed:
            data = self._pop(self._size_bytes)
            self._tell()
            return data

    def close(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._tell()

    def _await(self, timeout: float | None) -> None:
        if self._size_bytes or self._closed:
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (self._size_bytes or self._closed):
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise paramiko.buffered_pipe.PipeTimeout
            self._changed.wait(left_s)

    def _pop(self, nbytes: int) -> bytes:
        parts: list[memoryview] = []
        left = nbytes
        while left and self._pieces:
            piece = self._pieces.popleft()
            if len(piece) > left:
                self._pieces.appendleft(piece[left:])
                piece = piece[:left]
            parts.append(piece)
            left -= len(piece)
        self._size_bytes -= nbytes - left
        return b"".join(parts)

    def _tell(self) -> None:
        if self._signal is None:
            return
        if self._size_bytes or self._closed:
            self._signal.set()
        else:
            self._signal.clear()
