"""Pickles of {name: numpy array}, read by a small machine of our own.

Python's unpickler calls whatever a pickle names. This reader calls nothing: it walks the instructions
(`pickletools.genops` decodes them without acting), knows the few names that numpy writes for an array, and puts
the array together from its bytes. Any other name, class or instruction ends the reading, and is named.
The instructions are those of protocols 0 to 5 (PEP 307, 3154, 574).
"""

from __future__ import annotations

import pickle
import warnings
from typing import TYPE_CHECKING, BinaryIO

from launcher.weights.arrays import refuse
from launcher.weights.machine import Reader
from launcher.weights.pending import PendingArray, describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.weights.arrays import Array

MAX_SHARED_RATIO = 16
"""How much larger all arrays may be than the file, where names share one array."""
MIN_SHARED_BYTES = 64 << 20
_PROTOCOL = 4
"""Read by every Python 3 and by numpy 1.26 and later."""


def loads(data: bytes) -> dict[str, Array]:
    """The arrays in a pickle; anything but {name: numpy array} raises `WeightsError`, and none of it runs."""
    if data[:4] == b"PK\x03\x04":
        raise refuse("a zip archive (.npz, or a PyTorch file), not a pickle")
    try:
        with warnings.catch_warnings():
            # An old-style string with a bad escape is decoded before it is refused.
            warnings.simplefilter("ignore")
            value = Reader(len(data)).run(data)
    except (IndexError, KeyError, ValueError, TypeError, OverflowError, AssertionError) as fault:
        # Whatever trips the decoder or the stack of a made-up pickle; the reader itself has run nothing.
        raise refuse(f"the pickle is cut off or corrupt ({type(fault).__name__})") from fault
    return _arrays(value, len(data))


def dump(arrays: Mapping[str, Array], file: BinaryIO) -> None:
    """Write a pickle that `loads`, and any Python with numpy, reads."""
    pickle.dump(dict(arrays), file, protocol=_PROTOCOL)


def _arrays(value: object, file_bytes: int) -> dict[str, Array]:
    if not isinstance(value, dict):
        raise refuse(f"the pickle holds {describe(value)}, expected a dictionary of arrays")
    made: dict[int, Array] = {}
    found: dict[str, Array] = {}
    for name, entry in value.items():
        if not isinstance(entry, PendingArray):
            raise refuse(f"{name!r:.60} is {describe(entry)}, expected a numpy array")
        if id(entry) not in made:
            made[id(entry)] = entry.resolve()
        found[name] = made[id(entry)]
    if sum(array.nbytes for array in found.values()) > max(MIN_SHARED_BYTES, MAX_SHARED_RATIO * file_bytes):
        raise refuse(f"the names share arrays to more than {MAX_SHARED_RATIO} times the file's size")
    return found
