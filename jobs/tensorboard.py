"""Metrics as TensorBoard reads them: a file of records, each an `Event` with one scalar in it.

A record is a little-endian 64-bit length, that length's checksum, the bytes, and their checksum, as in any TFRecord
(TensorFlow documentation, TFRecord and tf.train.Example). The checksum is CRC-32C, rotated by 15 bits, plus a
constant. The bytes are protocol buffers; of TensorFlow's event.proto and summary.proto these fields are written:
`Event` wall_time 1, step 2, file_version 3, summary 5, session_log 7; `Summary` value 1; `Value` tag 1,
simple_value 2; `SessionLog` status 1.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CASTAGNOLI = 0x82F63B78  # CRC-32C's polynomial, its bits in reverse
MASK_DELTA = 0xA282EAD8
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""How protocol buffers write a field, by their number for it."""
START = 1


def _checksums() -> tuple[int, ...]:
    """What each last byte adds to the checksum."""
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (CASTAGNOLI if value & 1 else 0)  # noqa: PLW2901  # it is shifted out
        found.append(value)
    return tuple(found)


TABLE = _checksums()


@dataclass(slots=True)
class EventFile:
    """`events.out.tfevents..`, one for each process that trains; TensorBoard reads all that lie in a folder."""

    file: BinaryIO

    @classmethod
    def open(cls, folder: Path, *, from_step: int) -> EventFile:
        """A new file in `folder`; TensorBoard then forgets what earlier files say of `from_step` and later steps."""
        microseconds = time.time_ns() // 1000  # TensorBoard reads the files in the order of their names
        events = cls((folder / f"events.out.tfevents.{microseconds}").open("xb"))
        events.file.write(record(event(microseconds / 1e6, 0, _field(3, BYTES, b"brain.Event:2"))))
        if from_step:
            restarted = _field(7, BYTES, _field(1, VARINT, _varint(START)))
            events.file.write(record(event(microseconds / 1e6, from_step, restarted)))
        events.file.flush()
        return events

    def write(self, *, step: int, seconds: float, values: Mapping[str, float]) -> None:
        """A record for each value; `seconds` since 1970."""
        for name, value in values.items():
            scalar = _field(1, BYTES, name.encode()) + _field(2, FIXED32, struct.pack("<f", value))
            summary = _field(5, BYTES, _field(1, BYTES, scalar))
            self.file.write(record(event(seconds, step, summary)))
        self.file.flush()

    def close(self) -> None:
        """No record follows."""
        self.file.close()


def event(seconds: float, step: int, what: bytes) -> bytes:
    """An `Event` at that time and step, with the field `what`."""
    return _field(1, FIXED64, struct.pack("<d", seconds)) + _field(2, VARINT, _varint(step)) + what


def record(data: bytes) -> bytes:
    """`data` as a record of the file."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def crc32c(data: bytes) -> int:
    """The CRC-32C of `data` (RFC 3720, appendix B.4)."""
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder = TABLE[(remainder ^ byte) & 0xFF] ^ remainder >> 8
    return remainder ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    checksum = crc32c(data)
    return struct.pack("<I", ((checksum >> 15 | checksum << 17) + MASK_DELTA) & 0xFFFFFFFF)


def _field(number: int, kind: int, value: bytes) -> bytes:
    """A field of a protocol buffer; the length goes before bytes."""
    return _varint(number << 3 | kind) + (_varint(len(value)) if kind == BYTES else b"") + value


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])
