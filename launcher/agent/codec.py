"""Compression at the machine: zstd where it has the library, zlib else."""

from __future__ import annotations

import contextlib
import importlib
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hashes import Data

LEVEL = 3
SAMPLE_BYTES = 1 << 12


class Codec:
    """What this machine can pack and unpack."""

    def __init__(self) -> None:
        self.zstd = _zstd()

    def pack(self, data: bytes, level: int = LEVEL) -> tuple[bytes, bytes]:
        """A parcel's kind and its body, compressed where that pays; `level` is zstd's."""
        if not pays(data):
            return b"P", data
        kind, packed = (b"z", self.zstd.compress(data, level)) if self.zstd else (b"p", zlib.compress(data, 1))
        return (kind, packed) if len(packed) < len(data) else (b"P", data)

    def unpack(self, kind: bytes, payload: Data) -> Data:
        """A parcel's body; raises `ValueError` for what is none."""
        if kind == b"P":
            return payload
        if kind == b"p":
            try:
                return zlib.decompress(payload)
            except zlib.error as error:
                raise ValueError(str(error)) from None
        if kind != b"z" or not self.zstd:
            raise ValueError("a parcel of unknown kind")
        return bytes(self.zstd.decompress(payload))


def pays(data: bytes) -> bool:
    """Whether a sample from the middle shrinks: to compress what does not costs more than a fast line does."""
    middle = len(data) // 2
    sample = data[max(0, middle - SAMPLE_BYTES // 2) : middle + SAMPLE_BYTES // 2]
    return len(zlib.compress(sample, 1)) < 0.9 * len(sample)


def _zstd() -> Any:
    """Something with `compress` and `decompress`, or `None`."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("compression.zstd")  # Python 3.14
    try:
        return Libzstd()
    except (ImportError, OSError, AttributeError):
        return None


class Libzstd:
    """The system's libzstd, which dpkg and rpm bring: three functions of it."""

    def __init__(self) -> None:
        import ctypes  # noqa: PLC0415  (8 ms that small requests need not pay)

        library = ctypes.CDLL("libzstd.so.1")
        size, pointer = ctypes.c_size_t, ctypes.c_void_p
        for name, result, arguments in (
            ("ZSTD_compressBound", size, [size]),
            ("ZSTD_compress", size, [pointer, size, ctypes.c_char_p, size, ctypes.c_int]),
            ("ZSTD_decompress", size, [pointer, size, ctypes.c_char_p, size]),
            ("ZSTD_isError", ctypes.c_uint, [size]),
            ("ZSTD_getFrameContentSize", ctypes.c_ulonglong, [ctypes.c_char_p, size]),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        self.library = library
        self.buffer = ctypes.create_string_buffer

    def compress(self, data: bytes, level: int = LEVEL) -> bytes:
        """One frame that says how long its content is."""
        room = self.library.ZSTD_compressBound(len(data))
        made = self.buffer(room)
        length = self.library.ZSTD_compress(made, room, data, len(data), level)
        if self.library.ZSTD_isError(length):
            raise ValueError("zstd failed")
        return bytes(memoryview(made)[:length])

    def decompress(self, packed: Data) -> bytes:
        """The content of one frame; raises `ValueError`."""
        packed = bytes(packed)
        size = self.library.ZSTD_getFrameContentSize(packed, len(packed))
        if size > 1 << 26:
            raise ValueError("a frame does not say how long it is, or is too long")
        made = self.buffer(max(1, size))
        length = self.library.ZSTD_decompress(made, size, packed, len(packed))
        if self.library.ZSTD_isError(length):
            raise ValueError("not a zstd frame")
        return bytes(memoryview(made)[:length])
