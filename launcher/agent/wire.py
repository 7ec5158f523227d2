"""Frames between the machine and the laptop.

A frame is one byte of kind, four bytes of length (big-endian) and the payload: `J` JSON, `j` JSON compressed by zlib,
`D` data, `d` data compressed by zlib. Requests and answers are JSON; files travel in parcels.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hashes import Data

MAGIC = b"gpurun-agent 1\n"
BLOCK_BYTES = 1 << 18
FRAME_LIMIT_BYTES = 1 << 26
HEADER = struct.Struct(">cI")

Json = Any


class Refusal(Exception):
    """A request that cannot be answered, in words for the user."""


class Wire:
    """Frames over a pair of file descriptors."""

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self.buffer = bytearray()

    def send(self, kind: bytes, payload: bytes) -> None:
        """Write one frame."""
        write_all(self.sink, frame_of(kind, payload))

    def send_json(self, value: Json) -> None:
        """Write one JSON frame, compressed when it is long."""
        text = json.dumps(value, separators=(",", ":")).encode("ascii")
        if len(text) > 1024:
            self.send(b"j", zlib.compress(text, 1))
        else:
            self.send(b"J", text)

    def receive(self) -> tuple[bytes, Data]:
        """Read one frame; raises `EOFError` at the end."""
        while True:
            frame = self.buffered()
            if frame is not None:
                return frame
            if len(self.buffer) > HEADER.size:
                return self.rest_of_frame()
            self.fill()

    def rest_of_frame(self) -> tuple[bytes, Data]:
        """Read what a frame lacks straight to where it belongs; raises `EOFError` at the end."""
        kind, size = HEADER.unpack_from(self.buffer)
        payload = bytearray(size)
        filled = len(self.buffer) - HEADER.size
        payload[:filled] = memoryview(self.buffer)[HEADER.size :]
        self.buffer.clear()
        view = memoryview(payload)
        while filled < size:
            count = os.readv(self.source, [view[filled:]])
            if not count:
                raise EOFError
            filled += count
        return kind, view

    def receive_json(self) -> Json:
        """Read one JSON frame; raises `EOFError` at the end."""
        kind, payload = self.receive()
        if kind == b"j":
            payload = zlib.decompress(payload)
        elif kind != b"J":
            raise Refusal("a JSON frame was expected")
        return json.loads(bytes(payload))

    def buffered(self) -> tuple[bytes, bytes] | None:
        """The next frame if it has arrived whole."""
        if len(self.buffer) < HEADER.size:
            return None
        kind, size = HEADER.unpack_from(self.buffer)
        if size > FRAME_LIMIT_BYTES:
            raise Refusal("a frame is too long")
        if len(self.buffer) < HEADER.size + size:
            return None
        payload = bytes(memoryview(self.buffer)[HEADER.size : HEADER.size + size])
        del self.buffer[: HEADER.size + size]
        return kind, payload

    def fill(self) -> None:
        """Wait for more bytes; raises `EOFError` at the end."""
        data = os.read(self.source, BLOCK_BYTES)
        if not data:
            raise EOFError
        self.buffer += data

    def waiting(self) -> bool:
        """Whether more has come."""
        return bool(self.buffer) or bool(select.select([self.source], [], [], 0)[0])

    def wait(self, timeout_s: float) -> None:
        """Take in what arrives within `timeout_s`."""
        if select.select([self.source], [], [], timeout_s)[0]:
            self.fill()

    def drain(self) -> None:
        """Throw everything away until the other side closes."""
        with contextlib.suppress(EOFError):
            while True:
                self.buffer.clear()
                self.fill()


def frame_of(kind: bytes, payload: bytes) -> bytes:
    """A frame as it is sent."""
    return HEADER.pack(kind, len(payload)) + payload


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however many calls it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
