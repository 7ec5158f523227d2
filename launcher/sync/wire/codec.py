"""Compression on the laptop: zstd where the machine reads it, zlib else; what comes back is unpacked within limits."""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING

from launcher.agent.codec import pays
from launcher.errors import TransferError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from launcher.agent.hashes import Data

PARCEL_LIMIT_BYTES = 4 << 20
"""Of a parcel unpacked; ours hold a megabyte and a little."""

__all__ = ["PARCEL_LIMIT_BYTES", "pack", "pays", "unpack"]


def pack(body: bytes, *, zstd_level: int) -> tuple[bytes, bytes]:
    """A parcel's kind and its body compressed; `zstd_level` 0: the machine reads zlib alone."""
    if zstd_level:
        kind, packed = b"z", zstd.compress(body, zstd_level)
    else:
        kind, packed = b"p", zlib.compress(body, 1)
    return (kind, packed) if len(packed) < len(body) else (b"P", body)


def unpack(kind: bytes, payload: Data, limit_bytes: int = PARCEL_LIMIT_BYTES) -> Data:
    """A parcel's body, of `limit_bytes` at most; raises `TransferError` beyond it and on rubbish."""
    if kind == b"P":
        body: Data = payload
    elif kind in {b"p", b"z"}:
        inflate = zlib.decompressobj() if kind == b"p" else zstd.ZstdDecompressor()
        try:
            body = inflate.decompress(payload, limit_bytes + 1)
        except (zlib.error, zstd.ZstdError) as error:
            raise TransferError(f"the machine sent data that cannot be decompressed: {error}") from None
        if len(body) <= limit_bytes and (not inflate.eof or inflate.unused_data):
            raise TransferError("the machine sent compressed data that is cut off, or followed by more")
    else:
        raise TransferError(f"the machine sent a frame of kind {kind!r} where data was due")
    if len(body) > limit_bytes:
        raise TransferError(f"the machine sent a parcel of more than {limit_bytes} bytes")
    return body
