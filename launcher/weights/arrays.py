"""Which arrays count as weights, and how bytes from outside become one."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from launcher.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Array = np.ndarray[Any, np.dtype[Any]]
Dtype = np.dtype[Any]

MACHINE_LEARNING_DTYPES = ("bfloat16", "float8_e4m3fn", "float8_e5m2")
"""Types that numpy itself lacks; the package ml_dtypes brings them."""
MAX_DIMENSIONS = 32
_KINDS = "biufcSU"
_NUMPY_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f(?:2|4|8|16)|c(?:8|16|32)|[SU][1-9]\d{0,8})")
HINT = "weights are {name: numpy array}: save them with numpy.savez(path, **arrays)"


def refuse(text: str) -> WeightsError:
    """The error for what is not weights."""
    return WeightsError(text, hint=HINT)


def dtype_named(name: str) -> Dtype:
    """A type of numbers or fixed-width text by numpy's name for it, or by ml_dtypes'; raises `WeightsError`."""
    if name in MACHINE_LEARNING_DTYPES:
        return _machine_learning_dtype(name)
    if not _NUMPY_DTYPE.fullmatch(name):
        raise refuse(f"an array of the type {name[:60]!r}, expected numbers, booleans or fixed-width text")
    try:
        return np.dtype(name)
    except TypeError as fault:
        raise refuse(f"an array of the type {name!r}, which this machine does not have") from fault


def from_bytes(raw: bytes | bytearray | memoryview, dtype: Dtype, shape: Sequence[object], order: str = "C") -> Array:
    """An array of its own memory; `raw` must be exactly as long as the shape says. Raises `WeightsError`."""
    sizes = [size for size in shape if isinstance(size, int) and not isinstance(size, bool) and size >= 0]
    if len(sizes) != len(shape) or len(sizes) > MAX_DIMENSIONS:
        raise refuse("an array with an impossible shape")
    expected = math.prod(sizes) * dtype.itemsize
    if expected != len(raw):
        raise refuse(f"an array of {len(raw)} bytes whose shape and type ask for {expected}: cut off or corrupt")
    try:
        flat = np.frombuffer(raw, dtype=dtype) if expected else np.empty(0, dtype)
        return flat.reshape(sizes, order="F" if order == "F" else "C").copy(order="K")
    except (ValueError, OverflowError) as fault:
        raise refuse(f"an array that cannot be made ({fault})") from fault


def check(arrays: Mapping[str, object]) -> dict[str, Array]:
    """The same names with plain arrays; anything that cannot be kept raises `WeightsError`."""
    return {_check_name(name): _check_array(name, value) for name, value in arrays.items()}


def identical(one: Array, other: Array) -> bool:
    """Whether type, shape and every bit are the same, whatever the byte order."""
    native = one.dtype.newbyteorder("="), other.dtype.newbyteorder("=")
    if native[0] != native[1] or one.shape != other.shape:
        return False
    return one.astype(native[0]).tobytes() == other.astype(native[1]).tobytes()


def is_machine_learning(dtype: Dtype) -> bool:
    """Whether numpy's own formats cannot say what the type is."""
    return dtype.name in MACHINE_LEARNING_DTYPES


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not name or "\0" in name:
        raise refuse(f"the name {name!r:.60}, expected text that is not empty")
    try:
        name.encode()
    except UnicodeEncodeError as fault:
        raise refuse(f"the name {name!r:.60}, expected valid Unicode") from fault
    return name


def _check_array(name: str, value: object) -> Array:
    if isinstance(value, np.ma.MaskedArray) or not isinstance(value, np.ndarray | np.generic):
        raise refuse(f"{name!r:.60} is of the type {type(value).__name__}, expected a numpy array")
    array = np.asarray(value)
    if array.dtype.kind not in _KINDS and not is_machine_learning(array.dtype):
        raise refuse(f"{name!r:.60} is an array of {array.dtype}, expected numbers, booleans or fixed-width text")
    return array


def _machine_learning_dtype(name: str) -> Dtype:
    try:
        import ml_dtypes  # noqa: PLC0415 - an optional package, needed for these types alone
    except ImportError as fault:
        message = f"an array of {name}, which numpy does not know by itself"
        raise WeightsError(message, hint="pip install ml_dtypes") from fault
    dtype: Dtype = np.dtype(getattr(ml_dtypes, name))
    return dtype
