"""Parcels: some files, or a range of one, with the digest of each, as one frame's payload."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from .hashes import HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .hashes import Data

NUMBER = struct.Struct(">I")
HEAD = struct.Struct(">II")
KINDS = frozenset({b"P", b"p", b"z"})
"""Stored, compressed by zlib, by zstd; the number in front never is."""


def join(header: Any, digests: Sequence[bytes], contents: Sequence[Data]) -> bytes:
    """A parcel's body; `header` is JSON."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    return b"".join([HEAD.pack(len(text), len(digests)), text, *digests, *contents])


def split(body: Data) -> tuple[Any, list[bytes], memoryview]:
    """The header, the digests and the contents in a row; raises `ValueError` for what is no parcel."""
    if len(body) < HEAD.size:
        raise ValueError("a parcel is too short")
    length, count = HEAD.unpack_from(body)
    at = HEAD.size + length
    end = at + count * HASH_BYTES
    if end > len(body):
        raise ValueError("a parcel is shorter than it says")
    header = json.loads(bytes(body[HEAD.size : at]))
    digests = [bytes(body[start : start + HASH_BYTES]) for start in range(at, end, HASH_BYTES)]
    return header, digests, memoryview(body)[end:]
