"""numpy's .npz archives, read without pickles and without believing the sizes that they declare.

Format: "NEP 1, A simple file format for NumPy arrays" inside a zip archive.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from launcher.errors import WeightsError
from launcher.weights.arrays import check, from_bytes, is_machine_learning, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from launcher.weights.arrays import Array

MAX_RATIO = 64
MIN_LIMIT_BYTES = 1 << 30
_SUFFIX = ".npy"
_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    ValueError,
    TypeError,
    SyntaxError,
    EOFError,
    OverflowError,
    # zipfile's words for an unknown compression, a password, and a header nested without end.
    RuntimeError,
)


def load(path: Path) -> dict[str, Array]:
    """The arrays of an archive; a pickle inside, or sizes that do not add up, raise `WeightsError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(members, path.stat().st_size)
            return check({_name(member): _read(archive, member) for member in members})
    except _DAMAGE as fault:
        raise refuse(f"the .npz archive is cut off or corrupt ({fault})") from fault


def dump(arrays: Mapping[str, Array], file: BinaryIO) -> None:
    """Write an archive that `numpy.load` reads; types that numpy lacks raise `WeightsError`."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            if is_machine_learning(array.dtype):
                message = f"{name!r} is of {array.dtype}, which .npz cannot hold"
                raise WeightsError(message, hint="choose --format safetensors, or pkl")
            with archive.open(name + _SUFFIX, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _check_members(members: list[zipfile.ZipInfo], file_bytes: int) -> None:
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise refuse("the .npz archive holds one name twice")
    for member in members:
        if not member.filename.endswith(_SUFFIX) or member.filename == _SUFFIX:
            raise refuse(f"the archive holds {member.filename!r:.80}, expected {_SUFFIX} arrays alone")
        if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} or member.flag_bits & 0x1:
            raise refuse(f"{member.filename!r:.80} is encrypted or compressed in a way that numpy does not use")
    total = sum(member.file_size for member in members)
    if total > max(MIN_LIMIT_BYTES, MAX_RATIO * file_bytes):
        raise refuse(f"the archive would unfold to {total} bytes, over {MAX_RATIO} times its size")


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(_SUFFIX)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as file:
        shape, is_fortran, dtype = _header(file)
        if dtype.hasobject:
            raise refuse(f"{_name(member)!r:.60} is an array of objects, which is a pickle; it was not opened")
        # The size is checked before the memory is taken.
        if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise refuse(f"{_name(member)!r:.60} is not as long as its shape and type say")
        return from_bytes(file.read(), dtype, shape, "F" if is_fortran else "C")


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in _READ_HEADER:
        raise refuse(f"an array in the .npy version {version}, expected 1.0 or 2.0")
    return _READ_HEADER[version](file)
