"""Reading pickles that hold nothing but arrays of numbers, without running what a pickle may ask for.

A pickle is a program: it may name any function and have it called. Here the few names that arrays need are looked up
in a table, and all others are refused; nothing is imported.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    TypeError,
    MemoryError,
    OverflowError,
    RecursionError,
    SystemError,  # CPython 3.11, on byte arrays that are cut off
)
"""What an unpickler raises on nonsense, with ValueError (Python documentation, pickle.UnpicklingError)."""

NUMBERS = re.compile(r"[biufc][0-9]{1,2}")  # the types of plain numbers, as NumPy's pickles name them


def load(data: bytes) -> Any:
    """What `data` holds: numbers, texts, lists, tuples and dictionaries of them, and NumPy arrays of plain numbers.

    Reads what Python 2 wrote, too: its texts are taken for latin-1, as its arrays are. Raises ValueError for
    everything else.
    """
    try:
        return _ArraysOnly(io.BytesIO(data), encoding="latin1").load()
    except BROKEN as error:
        raise ValueError(str(error) or type(error).__name__) from error


def is_plain(found: object) -> bool:
    """Whether it is an array of numbers."""
    return isinstance(found, np.ndarray) and not found.dtype.hasobject


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return ALLOWED[module, name]


def _dtype(kind: object, align: object = False, copy: object = False) -> np.dtype[Any]:
    """A type of numbers; Python 2 wrote the flags as 0 and 1, of which NumPy 2.4 warns."""
    if not isinstance(kind, str) or not NUMBERS.fullmatch(kind):
        raise pickle.UnpicklingError(f"it asks for an array of {kind!r}")
    return np.dtype(kind, align=bool(align), copy=bool(copy))


def _encode(text: object, encoding: object) -> bytes:
    """How Python 3 writes bytes in the pickle format of Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for a text in {encoding!r}")
    return text.encode("latin1")


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _reconstruct(_kind: object, _shape: object, _code: object) -> NDArray[Any]:
    """An empty array, whatever is asked for; what it holds is set by what follows."""
    return np.empty(0, np.uint8)


ALLOWED: Mapping[tuple[str, str], Any] = MappingProxyType(
    {
        **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
        **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): _dtype,
        ("_codecs", "encode"): _encode,
    }
)
"""The globals that arrays of plain numbers need, as NumPy 1 and NumPy 2 name them, and what stands for them here."""
