"""The machine that walks a pickle's instructions: a stack, marks and a memo, and not one call to anything outside."""

from __future__ import annotations

import pickletools
from typing import TYPE_CHECKING, Any

from launcher.weights.arrays import refuse
from launcher.weights.pending import KNOWN, Known, PendingArray, PendingDtype, describe, make

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_INSTRUCTIONS = 2_000_000
"""About fifty make an array."""


class Reader:
    """A stack, a memo, and one method for each kind of instruction."""

    def __init__(self, file_bytes: int) -> None:
        """For a pickle of so many bytes."""
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._encoded_bytes = 0
        self._file_bytes = file_bytes

    def run(self, data: bytes) -> object:
        """The value that the pickle ends with; anything but plain values and arrays raises `WeightsError`.

        A pickle that does not hold together raises what it trips over: IndexError, KeyError, TypeError, ValueError.
        """
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

    def _name(self, module: object, name: object) -> None:
        asked = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "something without a name"
        if asked not in KNOWN:
            raise refuse(f"the pickle asks for {asked!r:.200}, which is not an array; nothing of it was run")
        self._stack.append(KNOWN[asked])

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._name(module, name)

    def _stack_global(self, _: object) -> None:
        name = self._stack.pop()
        self._name(self._stack.pop(), name)

    def _group(self) -> list[Any]:
        """The values above the last mark, taken off with it."""
        return self._take(len(self._stack) - self._marks.pop())

    def _take(self, count: int) -> list[Any]:
        """The topmost values, taken off; none from below the last mark."""
        start = len(self._stack) - count
        if start < (self._marks[-1] if self._marks else 0):
            raise IndexError("too few values")
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _tuple(self, _: object) -> None:
        self._stack.append(tuple(self._group()))

    def _tuple_of(self, count: int) -> None:
        self._stack.append(tuple(self._take(count)))

    def _list(self, _: object) -> None:
        self._stack.append(self._group())

    def _dict(self, _: object) -> None:
        values = self._group()
        self._stack.append({})
        self._fill(values)

    def _set_items(self, _: object) -> None:
        self._fill(self._group())

    def _set_item(self, _: object) -> None:
        self._fill(self._take(2))

    def _appends(self, _: object) -> None:
        values = self._group()
        self._top_list().extend(values)

    def _append(self, _: object) -> None:
        values = self._take(1)
        self._top_list().extend(values)

    def _top_list(self) -> list[Any]:
        if not isinstance(self._stack[-1], list):
            raise TypeError
        return self._stack[-1]

    def _fill(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise TypeError
        for name, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(name, str):
                raise refuse(f"a dictionary whose key is {describe(name)}, expected names")
            target[name] = value

    def _put(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def _memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, place: int) -> None:
        self._stack.append(self._memo[place])

    def _mark(self, _: object) -> None:
        self._marks.append(len(self._stack))

    def _pop(self, _: object) -> None:
        # Python's own pickler pops an empty group this way.
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def _pop_mark(self, _: object) -> None:
        self._group()

    def _duplicate(self, _: object) -> None:
        self._stack.append(self._stack[-1])

    def _reduce(self, _: object) -> None:
        function, arguments = self._take(2)
        if not isinstance(function, Known) or not isinstance(arguments, tuple):
            raise refuse(f"the pickle calls {describe(function)}; nothing of it was run")
        made = self._encoded(*arguments) if function is Known.ENCODE else make(function, arguments)
        self._stack.append(made)

    def _encoded(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding not in {"latin1", "latin-1"}:
            raise TypeError
        # A memoised text encoded again and again would otherwise fill the memory from a small file.
        self._encoded_bytes += len(text)
        if self._encoded_bytes > self._file_bytes:
            raise refuse("the pickle repeats its bytes beyond its own size")
        return text.encode("latin-1")

    def _build(self, _: object) -> None:
        (state,) = self._take(1)
        target = self._stack[-1]
        fresh = isinstance(target, PendingArray) and target.shape is None
        if not fresh and not isinstance(target, PendingDtype):
            raise refuse(f"the pickle sets the state of {describe(target)}; nothing of it was run")
        target.set_state(state)


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
_ACTIONS: Mapping[str, Callable[[Reader, Any], None]] = {
    "GLOBAL": Reader._global,
    "STACK_GLOBAL": Reader._stack_global,
    "MARK": Reader._mark,
    "POP": Reader._pop,
    "POP_MARK": Reader._pop_mark,
    "DUP": Reader._duplicate,
    "TUPLE": Reader._tuple,
    "TUPLE1": lambda reader, _: reader._tuple_of(1),
    "TUPLE2": lambda reader, _: reader._tuple_of(2),
    "TUPLE3": lambda reader, _: reader._tuple_of(3),
    "LIST": Reader._list,
    "DICT": Reader._dict,
    "APPEND": Reader._append,
    "APPENDS": Reader._appends,
    "SETITEM": Reader._set_item,
    "SETITEMS": Reader._set_items,
    "PUT": Reader._put,
    "BINPUT": Reader._put,
    "LONG_BINPUT": Reader._put,
    "MEMOIZE": Reader._memoize,
    "GET": Reader._get,
    "BINGET": Reader._get,
    "LONG_BINGET": Reader._get,
    "REDUCE": Reader._reduce,
    "BUILD": Reader._build,
}
