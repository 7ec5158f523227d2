"""An agent whose every answer a test chooses, behind `ports.Stream`: for a machine that lies or breaks."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable
from typing import Any

from launcher.agent.wire import HEADER, MAGIC
from launcher.errors import HostUnreachable, RemoteError

Json = Any


def frame(kind: bytes, payload: bytes) -> bytes:
    return HEADER.pack(kind, len(payload)) + payload


def answer(value: Json) -> bytes:
    return frame(b"J", json.dumps(value).encode())


def request_in(kind: bytes, payload: bytes) -> Json:
    return json.loads(zlib.decompress(payload) if kind == b"j" else payload)


class Stream:
    """Tells `hear` of every frame, with itself, which that may `say` something to or `hang_up`."""

    def __init__(self, hear: Callable[[Stream, bytes, bytes], None], greeting: bytes = b"") -> None:
        self._hear = hear
        self._said = bytearray(greeting + MAGIC)
        self._heard = bytearray()
        self.changed = threading.Condition(threading.RLock())
        self._end: RemoteError | None = None

    def say(self, data: bytes) -> None:
        with self.changed:
            self._said += data
            self.changed.notify_all()

    def hang_up(self, error: RemoteError, *, loses_answers: bool = False) -> None:
        """Who writes then gets this error, and who reads when he has what was said before, unless that is lost."""
        with self.changed:
            self._end = self._end or error
            if loses_answers:
                self._said.clear()
            self.changed.notify_all()

    def write(self, data: bytes) -> None:
        with self.changed:
            if self._end:
                raise self._end
            self._heard += data
            while not self._end and len(self._heard) >= HEADER.size:
                kind, size = HEADER.unpack_from(self._heard)
                if len(self._heard) < HEADER.size + size:
                    return
                payload = bytes(self._heard[HEADER.size : HEADER.size + size])
                del self._heard[: HEADER.size + size]
                self._hear(self, kind, payload)

    def read(self, size: int) -> bytes:
        with self.changed:
            self.changed.wait_for(lambda: self._said or self._end)
            if self._end and not self._said:
                raise self._end
            part = bytes(self._said[:size])
            del self._said[:size]
            return part

    def finish(self) -> Any:
        raise NotImplementedError

    def alive(self) -> bool:
        return not self._end

    def close_input(self) -> None:
        pass

    def close(self) -> None:
        self.hang_up(HostUnreachable("closed"))


class FalseSide:
    """`ports.Lines`, `Line` and `Connection` to a machine with such an agent."""

    rtt_s: float | None = 0.0
    greeting = b""

    def __init__(self) -> None:
        self.idle: list[Any] = []
        self.control = self

    def answer(self, kind: bytes, payload: bytes) -> bytes:
        """What is said to a frame."""
        raise NotImplementedError

    def bulk(self, number: int) -> FalseSide:
        return self

    def fresh(self, timeout_s: float) -> FalseSide:
        return self

    def open(self, command: str) -> Stream:
        return Stream(lambda stream, kind, payload: stream.say(self.answer(kind, payload)), self.greeting)

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 60.0) -> Any:
        raise NotImplementedError

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        pass
