"""Frames between the laptop and `launcher.agent`, which describes them; this side trusts nothing that it reads."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from launcher.agent.wire import BLOCK_BYTES, FRAME_LIMIT_BYTES, HEADER, MAGIC
from launcher.errors import HostUnreachable, TransferError
from launcher.sync.names import told

if TYPE_CHECKING:
    from launcher.agent.hashes import Data
    from launcher.ports import Stream

JSON_LIMIT_BYTES = 1 << 28
BRACKETS_LIMIT = 8_000_000
"""Lists and objects of one answer: an empty one takes three bytes of text, and of memory eighty."""
NOISE_LIMIT_BYTES = 1 << 16
JSON_KINDS = frozenset({b"J", b"j"})

Json = Any

__all__ = ["JSON_KINDS", "MAGIC", "Json", "Wire", "block_of", "parse", "unpack"]


class Wire:
    """Frames over a remote command's input and output."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.sent_bytes = 0
        self._buffer = bytearray()

    @property
    def quiet(self) -> bool:
        """Whether nothing has come that was not read."""
        return not self._buffer

    def close(self) -> None:
        """Hang up, from whichever thread."""
        self.stream.close()

    def await_line(self, *lines: bytes) -> bytes:
        """Skip what a login shell may print, up to one of `lines`, and tell which came; empty where none does."""
        while True:
            for line in lines:
                if line in self._buffer:
                    del self._buffer[: self._buffer.index(line) + len(line)]
                    return line
            data = self.stream.read(BLOCK_BYTES)
            if not data or len(self._buffer) > NOISE_LIMIT_BYTES:
                return b""
            self._buffer += data

    def send(self, kind: bytes, *payload: bytes) -> None:
        """Write one frame; raises `RemoteError` on a dead line."""
        frame = b"".join([HEADER.pack(kind, sum(map(len, payload))), *payload])
        self.stream.write(frame)
        self.sent_bytes += len(frame)

    def send_json(self, value: Json) -> None:
        """Write one JSON frame, compressed when it is long; raises `RemoteError` on a dead line."""
        text = json.dumps(value, separators=(",", ":")).encode("ascii")
        if len(text) > 1024:
            self.send(b"j", zlib.compress(text, 1))
        else:
            self.send(b"J", text)

    def receive(self) -> tuple[bytes, Data]:
        """Read one frame; raises `RemoteError` on a dead line or a frame that is none."""
        self._fill(HEADER.size)
        kind, size = HEADER.unpack_from(self._buffer)
        if size > FRAME_LIMIT_BYTES:
            raise TransferError(f"the machine announced a frame of {size} bytes", hint="gpurun doctor")
        payload = bytearray(size)
        filled = min(size, len(self._buffer) - HEADER.size)
        payload[:filled] = memoryview(self._buffer)[HEADER.size : HEADER.size + filled]
        del self._buffer[: HEADER.size + filled]
        view = memoryview(payload)
        while filled < size:
            data = self._read(size - filled)
            view[filled : filled + len(data)] = data
            filled += len(data)
        return kind, view

    def receive_json(self) -> dict[str, Json]:
        """Read one JSON object; raises `RemoteError` on a dead line and on what the agent could not do."""
        kind, payload = self.receive()
        return parse(kind, payload)

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            self._buffer += self._read(BLOCK_BYTES)

    def _read(self, size: int) -> bytes:
        data = self.stream.read(min(size, BLOCK_BYTES))
        if not data:
            raise HostUnreachable("the machine broke off in the middle", hint="gpurun status")
        return data


def parse(kind: bytes, payload: Data) -> dict[str, Json]:
    """A JSON frame's object; raises `TransferError` on anything else, and on an error that the agent reports."""
    if kind not in JSON_KINDS:
        raise TransferError(f"the machine sent a frame of kind {kind!r} where an answer was due")
    text = unpack(payload, JSON_LIMIT_BYTES) if kind == b"j" else bytes(payload)
    if text.count(b"[") + text.count(b"{") > BRACKETS_LIMIT:
        raise TransferError(f"the machine sent an answer of more than {BRACKETS_LIMIT} lists and objects")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TransferError(f"the machine sent an answer that is not JSON: {told(str(error))}") from None
    if not isinstance(value, dict):
        raise TransferError("the machine sent an answer that is not a JSON object")
    problem = value.get("error")
    if problem is not None:
        raise _problem(problem)
    return value


def _problem(problem: Json) -> TransferError:
    if not isinstance(problem, dict):
        return TransferError("the machine could not answer, and did not say why")
    hint = "gpurun ssh RUN df -h" if problem.get("kind") == "disk" else "gpurun ssh RUN   (to look at it there)"
    return TransferError(f"on the machine: {told(str(problem.get('message')))}", hint=hint)


def unpack(payload: Data, limit_bytes: int) -> bytes:
    """Decompress, to `limit_bytes` at most; raises `TransferError` beyond it and on rubbish."""
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(payload, limit_bytes)
    except zlib.error as error:
        raise TransferError(f"the machine sent data that cannot be decompressed: {error}") from None
    if inflate.unconsumed_tail or not inflate.eof or inflate.unused_data:
        raise TransferError(f"the machine sent a block of more than {limit_bytes} bytes")
    return data


def block_of(kind: bytes, payload: Data) -> bytes:
    """A data frame's content; raises `TransferError` on another frame or a block too long."""
    if kind == b"d":
        return unpack(payload, BLOCK_BYTES)
    if kind != b"D" or len(payload) > BLOCK_BYTES:
        raise TransferError(f"the machine sent a frame of kind {kind!r} and {len(payload)} bytes where data was due")
    return bytes(payload)
