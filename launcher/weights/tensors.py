"""The safetensors format (huggingface.co/docs/safetensors): eight bytes of length, a JSON header, then the bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from launcher.weights.arrays import check, dtype_named, from_bytes, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from launcher.weights.arrays import Array

MAX_HEADER_BYTES = 100_000_000
"""As the format's own reader has it."""
_METADATA = "__metadata__"
_DTYPES = {
    "BOOL": "b1",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "C64": "<c8",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
_CODES = {np.dtype(name).newbyteorder("=").name: code for code, name in _DTYPES.items() if "float" not in name} | {
    name: code for code, name in _DTYPES.items() if "float" in name
}


def load(path: Path) -> dict[str, Array]:
    """The tensors of a file as arrays; a header that does not fit the bytes raises `WeightsError`."""
    data = memoryview(path.read_bytes())
    header_bytes = int.from_bytes(data[:8], "little")
    if len(data) < 8 or header_bytes > min(MAX_HEADER_BYTES, len(data) - 8):
        raise refuse("the .safetensors file is cut off or corrupt: its header is longer than the file")
    header = _parse(bytes(data[8 : 8 + header_bytes]))
    body = data[8 + header_bytes :]
    header.pop(_METADATA, None)
    entries = {name: _entry(name, entry) for name, entry in header.items()}
    _check_cover(entries, len(body))
    found = {n: from_bytes(body[begin:end], dtype_named(t), shape) for n, (t, shape, begin, end) in entries.items()}
    return check(found)


def dump(arrays: Mapping[str, Array], file: BinaryIO) -> None:
    """Write a file that every safetensors reader takes: little-endian, rows first; raises `WeightsError`."""
    header: dict[str, Any] = {}
    # The widest first, so that each tensor lies aligned, as the reference writer does.
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    offset = 0
    for name in names:
        end = offset + arrays[name].nbytes
        header[name] = {
            "dtype": _code(name, arrays[name]),
            "shape": list(arrays[name].shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        file.write(_little_endian(arrays[name]).tobytes())


def _parse(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as fault:
        raise refuse("the .safetensors file is corrupt: its header is not JSON") from fault
    if not isinstance(header, dict):
        raise refuse("the .safetensors file is corrupt: its header is not a table of tensors")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise refuse("the .safetensors file holds one name twice")
    return found


def _entry(name: str, entry: Any) -> tuple[str, list[Any], int, int]:
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        known = _DTYPES[dtype]
    except (KeyError, TypeError, ValueError) as fault:
        raise refuse(f"{name!r:.60} has a broken entry or an unknown type in the header") from fault
    if not isinstance(shape, list) or type(begin) is not int or type(end) is not int:
        raise refuse(f"{name!r:.60} has a broken entry in the header")
    return known, shape, begin, end


def _check_cover(entries: Mapping[str, tuple[str, list[Any], int, int]], size_bytes: int) -> None:
    """The tensors lie end to end, without holes or overlaps, over all of the bytes."""
    place = 0
    for begin, end in sorted((begin, end) for _, _, begin, end in entries.values()):
        if begin != place or end < begin:
            raise refuse("the .safetensors file is corrupt: its tensors overlap or leave holes")
        place = end
    if place != size_bytes:
        raise refuse(f"the .safetensors file has {size_bytes} bytes of tensors where its header has {place}: cut off")


def _code(name: str, array: Array) -> str:
    code = _CODES.get(array.dtype.name)
    if code is None or name == _METADATA:
        raise refuse(f"{name!r:.60} is an array of {array.dtype}, which .safetensors cannot hold")
    return code


def _little_endian(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder("<"), copy=False) if array.dtype.kind in "iufc" else array
