"""Pickles of {name: numpy array}, read by a small machine of our own.

Python's unpickler calls whatever a pickle names. This reader calls nothing: it walks the instructions
(`pickletools.genops` decodes them without acting), knows the eight names that numpy writes for an array, and puts
the array together from its bytes. Any other name, class or instruction ends the reading, and is named.
The instructions are those of protocols 0 to 5 (PEP 307, 3154, 574).
"""

from __future__ import annotations

import pickle
import pickletools
import warnings
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, BinaryIO

from launcher.weights.arrays import MACHINE_LEARNING_DTYPES, dtype_named, from_bytes, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.weights.arrays import Array, Dtype

MAX_INSTRUCTIONS = 2_000_000
"""About fifty make an array."""
MAX_SHARED_RATIO = 16
"""How much larger all arrays may be than the file, where names share one array."""
MIN_SHARED_BYTES = 64 << 20
_PROTOCOL = 4
"""Read by every Python 3 and by numpy 1.26 and later."""


class _Known(Enum):
    RECONSTRUCT = auto()
    FROM_BUFFER = auto()
    SCALAR = auto()
    NDARRAY = auto()
    DTYPE = auto()
    ENCODE = auto()
    BYTES = auto()


_KNOWN: Mapping[str, _Known | str] = {
    "numpy.core.multiarray._reconstruct": _Known.RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": _Known.RECONSTRUCT,
    "numpy.core.numeric._frombuffer": _Known.FROM_BUFFER,
    "numpy._core.numeric._frombuffer": _Known.FROM_BUFFER,
    "numpy.core.multiarray.scalar": _Known.SCALAR,
    "numpy._core.multiarray.scalar": _Known.SCALAR,
    "numpy.ndarray": _Known.NDARRAY,
    "numpy.dtype": _Known.DTYPE,
    "_codecs.encode": _Known.ENCODE,
    "builtins.bytes": _Known.BYTES,
    "__builtin__.bytes": _Known.BYTES,
    **{f"ml_dtypes.{name}": name for name in MACHINE_LEARNING_DTYPES},
}
"""What a pickle may name; the values are marks that nothing ever calls."""


@dataclass(slots=True)
class _Dtype:
    """An element type as the pickle builds it up."""

    name: str
    byte_order: str = "="

    def resolve(self) -> Dtype:
        dtype = dtype_named(self.name)
        if self.byte_order == ">":
            return dtype.newbyteorder(">")
        return dtype.newbyteorder("<") if self.byte_order == "<" else dtype


@dataclass(slots=True, eq=False)
class _Array:
    """An array as the pickle builds it up."""

    shape: tuple[object, ...] | None = None
    dtype: _Dtype | None = None
    raw: bytes | bytearray = b""
    order: str = "C"
    axes: tuple[int, ...] | None = None

    def resolve(self) -> Array:
        if self.shape is None or self.dtype is None:
            raise refuse("an array without shape and type: cut off or corrupt")
        array = from_bytes(self.raw, self.dtype.resolve(), self.shape, self.order)
        if self.axes is None:
            return array
        if sorted(self.axes) != list(range(array.ndim)):
            raise refuse("an array with an impossible order of axes")
        return array.transpose(self.axes)


class _Mark:
    """Stands on the stack where a group of values begins."""


_MARK = _Mark()


def loads(data: bytes) -> dict[str, Array]:
    """The arrays in a pickle; anything but {name: numpy array} raises `WeightsError`, and none of it runs."""
    if data[:4] == b"PK\x03\x04":
        raise refuse("a zip archive (.npz, or a PyTorch file), not a pickle")
    try:
        with warnings.catch_warnings():
            # An old-style string with a bad escape is decoded before it is refused.
            warnings.simplefilter("ignore")
            value = _Reader(len(data)).run(data)
    except (IndexError, KeyError, ValueError, TypeError, OverflowError, AssertionError) as fault:
        # Whatever trips the decoder or the stack of a made-up pickle; the reader itself has run nothing.
        raise refuse(f"the pickle is cut off or corrupt ({type(fault).__name__})") from fault
    return _arrays(value, len(data))


def dump(arrays: Mapping[str, Array], file: BinaryIO) -> None:
    """Write a pickle that `loads`, and any Python with numpy, reads."""
    pickle.dump(dict(arrays), file, protocol=_PROTOCOL)


def _arrays(value: object, file_bytes: int) -> dict[str, Array]:
    if not isinstance(value, dict):
        raise refuse(f"the pickle holds {_kind(value)}, expected a dictionary of arrays")
    made: dict[int, Array] = {}
    found: dict[str, Array] = {}
    for name, entry in value.items():
        if not isinstance(entry, _Array):
            raise refuse(f"{name!r:.60} is {_kind(entry)}, expected a numpy array")
        if id(entry) not in made:
            made[id(entry)] = entry.resolve()
        found[name] = made[id(entry)]
    if sum(array.nbytes for array in found.values()) > max(MIN_SHARED_BYTES, MAX_SHARED_RATIO * file_bytes):
        raise refuse(f"the names share arrays to more than {MAX_SHARED_RATIO} times the file's size")
    return found


class _Reader:
    """A stack, a memo, and one method for each kind of instruction."""

    def __init__(self, file_bytes: int) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._encoded_bytes = 0
        self._file_bytes = file_bytes

    def run(self, data: bytes) -> object:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
            if count > MAX_INSTRUCTIONS:
                raise refuse(f"a pickle of more than {MAX_INSTRUCTIONS} instructions, expected arrays")
            if opcode.name == "STOP":
                self._check_end(position or 0)
                break
            self._step(opcode.name, argument)
        (value,) = self._stack
        return value

    def _check_end(self, position: int) -> None:
        rest = self._file_bytes - position - 1
        if rest:
            raise refuse(f"{rest} bytes after the end of the pickle, expected nothing")

    def _step(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        elif name not in {"PROTO", "FRAME"}:
            asked = f" of {str(argument).replace(' ', '.')!r:.120}" if name == "INST" else ""
            raise refuse(f"the pickle uses the instruction {name}{asked}, which makes objects; nothing of it was run")

    def _global(self, module: object, name: object) -> None:
        asked = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "something without a name"
        if asked not in _KNOWN:
            raise refuse(f"the pickle asks for {asked!r:.200}, which is not an array; nothing of it was run")
        self._stack.append(_KNOWN[asked])

    def global_(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._global(module, name)

    def stack_global(self, _: object) -> None:
        name = self._stack.pop()
        self._global(self._stack.pop(), name)

    def group(self) -> list[Any]:
        """The values above the last mark, taken off with it."""
        start = next(place for place in range(len(self._stack) - 1, -1, -1) if self._stack[place] is _MARK)
        values = self._stack[start + 1 :]
        del self._stack[start:]
        return values

    def take(self, count: int) -> list[Any]:
        """The topmost values, taken off."""
        if any(value is _MARK for value in self._stack[-count:]) or len(self._stack) < count:
            raise IndexError
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def tuple_(self, _: object) -> None:
        self._stack.append(tuple(self.group()))

    def tuple_of(self, count: int) -> None:
        self._stack.append(tuple(self.take(count)))

    def list_(self, _: object) -> None:
        self._stack.append(self.group())

    def dict_(self, _: object) -> None:
        values = self.group()
        self._stack.append({})
        self._fill(values)

    def set_items(self, _: object) -> None:
        self._fill(self.group())

    def set_item(self, _: object) -> None:
        self._fill(self.take(2))

    def appends(self, _: object) -> None:
        values = self.group()
        self._list().extend(values)

    def append(self, _: object) -> None:
        values = self.take(1)
        self._list().extend(values)

    def _list(self) -> list[Any]:
        if not isinstance(self._stack[-1], list):
            raise TypeError
        return self._stack[-1]

    def _fill(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise TypeError
        for name, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(name, str):
                raise refuse(f"a dictionary whose key is {_kind(name)}, expected names")
            target[name] = value

    def put(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, place: int) -> None:
        self._stack.append(self._memo[place])

    def mark(self, _: object) -> None:
        self._stack.append(_MARK)

    def pop(self, _: object) -> None:
        self._stack.pop()

    def pop_mark(self, _: object) -> None:
        self.group()

    def duplicate(self, _: object) -> None:
        self._stack.append(self._stack[-1])

    def reduce(self, _: object) -> None:
        function, arguments = self.take(2)
        if not isinstance(function, _Known) or not isinstance(arguments, tuple):
            raise refuse(f"the pickle calls {_kind(function)}; nothing of it was run")
        self._stack.append(self._made(function, arguments))

    def _made(self, function: _Known, arguments: tuple[Any, ...]) -> object:
        if function is _Known.RECONSTRUCT and arguments[0] is _Known.NDARRAY:
            return _Array()
        if function is _Known.FROM_BUFFER:
            raw, dtype, shape, order, *axes = arguments
            return _Array(_shape(shape), _typed(dtype), _raw(raw), _text(order), _axes(order, axes))
        if function is _Known.SCALAR:
            dtype, raw = arguments
            return _Array((), _typed(dtype), _raw(raw))
        if function is _Known.DTYPE and isinstance(arguments[0], str):
            return _Dtype(arguments[0])
        if function is _Known.ENCODE:
            return self._encoded(*arguments)
        if function is _Known.BYTES and arguments == ():
            return b""
        raise refuse(f"the pickle calls {function.name.lower()} in a way that numpy does not; nothing of it was run")

    def _encoded(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding not in {"latin1", "latin-1"}:
            raise TypeError
        # A memoised text encoded again and again would otherwise fill the memory from a small file.
        self._encoded_bytes += len(text)
        if self._encoded_bytes > self._file_bytes:
            raise refuse("the pickle repeats its bytes beyond its own size")
        return text.encode("latin-1")

    def build(self, _: object) -> None:
        (state,) = self.take(1)
        target = self._stack[-1]
        if isinstance(target, _Array) and target.shape is None:
            _, shape, dtype, is_fortran, raw = state
            target.shape, target.dtype, target.raw = _shape(shape), _typed(dtype), _raw(raw)
            target.order = "F" if is_fortran else "C"
        elif isinstance(target, _Dtype):
            _build_dtype(target, state)
        else:
            raise refuse(f"the pickle sets the state of {_kind(target)}; nothing of it was run")


def _build_dtype(target: _Dtype, state: Any) -> None:
    _, byte_order, subtype, names, fields, *_ = state
    if subtype is not None or names is not None or fields is not None:
        raise refuse("an array of records, expected numbers, booleans or fixed-width text")
    if byte_order not in {"<", ">", "=", "|"}:
        raise TypeError
    target.byte_order = byte_order


def _typed(value: object) -> _Dtype:
    if not isinstance(value, _Dtype):
        raise TypeError
    return value


def _shape(value: object) -> tuple[object, ...]:
    if not isinstance(value, tuple):
        raise TypeError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _raw(value: object) -> bytes | bytearray:
    if isinstance(value, list):
        raise refuse("an array of objects, expected numbers, booleans or fixed-width text")
    # Python 2 wrote its bytes as text.
    if isinstance(value, str):
        return value.encode("latin-1")
    if not isinstance(value, bytes | bytearray):
        raise TypeError
    return value


def _axes(order: object, rest: list[Any]) -> tuple[int, ...] | None:
    if order != "K" or not rest or rest[0] is None:
        return None
    if not isinstance(rest[0], tuple) or not all(type(axis) is int for axis in rest[0]):
        raise TypeError
    return rest[0]


def _kind(value: object) -> str:
    if isinstance(value, _Known | str) and value in _KNOWN.values():
        return "a function or class"
    return {"_Array": "an array", "_Dtype": "an array's type"}.get(type(value).__name__, f"a {type(value).__name__}")


_VALUES = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
})  # fmt: skip
_CONSTANTS: Mapping[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_ACTIONS: Mapping[str, Callable[[_Reader, Any], None]] = {
    "GLOBAL": _Reader.global_,
    "STACK_GLOBAL": _Reader.stack_global,
    "MARK": _Reader.mark,
    "POP": _Reader.pop,
    "POP_MARK": _Reader.pop_mark,
    "DUP": _Reader.duplicate,
    "TUPLE": _Reader.tuple_,
    "TUPLE1": lambda reader, _: reader.tuple_of(1),
    "TUPLE2": lambda reader, _: reader.tuple_of(2),
    "TUPLE3": lambda reader, _: reader.tuple_of(3),
    "LIST": _Reader.list_,
    "DICT": _Reader.dict_,
    "APPEND": _Reader.append,
    "APPENDS": _Reader.appends,
    "SETITEM": _Reader.set_item,
    "SETITEMS": _Reader.set_items,
    "PUT": _Reader.put,
    "BINPUT": _Reader.put,
    "LONG_BINPUT": _Reader.put,
    "MEMOIZE": _Reader.memoize,
    "GET": _Reader.get,
    "BINGET": _Reader.get,
    "LONG_BINGET": _Reader.get,
    "REDUCE": _Reader.reduce,
    "BUILD": _Reader.build,
}
