"""What a pickle may name, and the arrays that grow out of it: plain records until all of their bytes are known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from launcher.weights.arrays import MACHINE_LEARNING_DTYPES, dtype_named, from_bytes, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.weights.arrays import Array, Dtype


class Known(Enum):
    """Marks for the functions and classes that numpy's pickles name; nothing ever calls them."""

    RECONSTRUCT = auto()
    FROM_BUFFER = auto()
    SCALAR = auto()
    NDARRAY = auto()
    DTYPE = auto()
    ENCODE = auto()
    BYTES = auto()


@dataclass(frozen=True, slots=True)
class KnownDtype:
    """The mark for an element type of ml_dtypes."""

    name: str


KNOWN: Mapping[str, Known | KnownDtype] = {
    "numpy.core.multiarray._reconstruct": Known.RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": Known.RECONSTRUCT,
    "numpy.core.numeric._frombuffer": Known.FROM_BUFFER,
    "numpy._core.numeric._frombuffer": Known.FROM_BUFFER,
    "numpy.core.multiarray.scalar": Known.SCALAR,
    "numpy._core.multiarray.scalar": Known.SCALAR,
    "numpy.ndarray": Known.NDARRAY,
    "numpy.dtype": Known.DTYPE,
    "_codecs.encode": Known.ENCODE,
    "builtins.bytes": Known.BYTES,
    "__builtin__.bytes": Known.BYTES,
    **{f"ml_dtypes.{name}": KnownDtype(name) for name in MACHINE_LEARNING_DTYPES},
}
"""All that a pickle may name: numpy 1 and 2, Python 2 and 3."""


@dataclass(slots=True)
class PendingDtype:
    """An element type as the pickle builds it up."""

    name: str
    byte_order: str = "="

    def set_state(self, state: Any) -> None:
        """Take what numpy's `dtype.__reduce__` gives: version, byte order, and what only records have."""
        _, byte_order, subtype, names, fields, *_ = state
        if subtype is not None or names is not None or fields is not None:
            raise refuse("an array of records, expected numbers, booleans or fixed-width text")
        if byte_order not in {"<", ">", "=", "|"}:
            raise ValueError(byte_order)
        self.byte_order = byte_order

    def resolve(self) -> Dtype:
        """The numpy type."""
        dtype = dtype_named(self.name)
        if self.byte_order == ">":
            return dtype.newbyteorder(">")
        return dtype.newbyteorder("<") if self.byte_order == "<" else dtype


@dataclass(slots=True, eq=False)
class PendingArray:
    """An array as the pickle builds it up."""

    shape: tuple[object, ...] | None = None
    dtype: PendingDtype | None = None
    raw: bytes | bytearray = b""
    order: str = "C"
    axes: tuple[int, ...] | None = None

    def set_state(self, state: Any) -> None:
        """Take what numpy's `ndarray.__reduce__` gives: version, shape, type, whether columns come first, bytes."""
        _, shape, dtype, is_fortran, raw = state
        self.shape, self.dtype, self.raw = _a(tuple, shape), _a(PendingDtype, dtype), _bytes(raw)
        self.order = "F" if is_fortran else "C"

    def resolve(self) -> Array:
        """The numpy array."""
        if self.shape is None or self.dtype is None:
            raise refuse("an array without shape and type: cut off or corrupt")
        array = from_bytes(self.raw, self.dtype.resolve(), self.shape, self.order)
        if self.axes is None:
            return array
        if sorted(self.axes) != list(range(array.ndim)):
            raise refuse("an array with an impossible order of axes")
        return array.transpose(self.axes)


def make(function: Known, arguments: tuple[Any, ...]) -> PendingArray | PendingDtype | bytes:
    """What numpy's call would stand for; any other use of the same name raises `WeightsError`."""
    if function is Known.RECONSTRUCT and arguments[0] is Known.NDARRAY:
        return PendingArray()
    if function is Known.FROM_BUFFER:
        return _from_buffer(*arguments)
    if function is Known.SCALAR:
        dtype, raw = arguments
        return PendingArray((), _a(PendingDtype, dtype), _bytes(raw))
    if function is Known.DTYPE and isinstance(arguments[0], str | KnownDtype):
        return PendingDtype(arguments[0] if isinstance(arguments[0], str) else arguments[0].name)
    if function is Known.BYTES and arguments == ():
        return b""
    raise refuse(f"the pickle calls {function.name.lower()} in a way that numpy does not; nothing of it was run")


def describe(value: object) -> str:
    """What a value of a pickle is, in a user's words; never its content."""
    if isinstance(value, Known | KnownDtype):
        return "a function or class"
    if isinstance(value, PendingDtype):
        return "an array's type"
    return "an array" if isinstance(value, PendingArray) else f"a {type(value).__name__}"


def _from_buffer(raw: object, dtype: object, shape: object, order: object, axes: object = None) -> PendingArray:
    if axes is not None and not (isinstance(axes, tuple) and all(type(axis) is int for axis in axes)):
        raise TypeError
    return PendingArray(_a(tuple, shape), _a(PendingDtype, dtype), _bytes(raw), _a(str, order), axes)


def _a(kind: type[Any], value: object) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{describe(value)} where a {kind.__name__} belongs")
    return value


def _bytes(value: object) -> bytes | bytearray:
    if isinstance(value, list):
        raise refuse("an array of objects, expected numbers, booleans or fixed-width text")
    # Python 2 wrote its bytes as text.
    if isinstance(value, str):
        return value.encode("latin-1")
    if not isinstance(value, bytes | bytearray):
        raise TypeError(f"{describe(value)} where bytes belong")
    return value
