"""Weights as files: which there are, opened, written and converted."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

from launcher.errors import WeightsError
from launcher.weights import arrays, pickled, tensors, zipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from launcher.weights.arrays import Array


class WeightsFormat(StrEnum):
    """How weights lie in a file; the value is the file's suffix."""

    PKL = "pkl"
    NPZ = "npz"
    SAFETENSORS = "safetensors"


_SUFFIXES = {
    ".pkl": WeightsFormat.PKL,
    ".pickle": WeightsFormat.PKL,
    ".npz": WeightsFormat.NPZ,
    ".safetensors": WeightsFormat.SAFETENSORS,
}
_NO_FOLDER = (FileExistsError, NotADirectoryError)
_DUMP = {
    WeightsFormat.PKL: pickled.dump,
    WeightsFormat.NPZ: zipped.dump,
    WeightsFormat.SAFETENSORS: tensors.dump,
}


def load(path: Path) -> dict[str, Array]:
    """The arrays in a .pkl, .npz or .safetensors file.

    Nothing in the file is run. Raises `WeightsError`, with the file's name, for anything but names and arrays.
    """
    known = _SUFFIXES.get(path.suffix.lower())
    if known is None:
        raise WeightsError(f"{path} is no weights file, expected .pkl, .npz or .safetensors", hint=arrays.HINT)
    try:
        return _read(path, known)
    except WeightsError as fault:
        raise WeightsError(f"{path}: {fault.message}", hint=fault.hint) from fault
    except OSError as fault:
        raise _unreadable(path, fault) from fault
    except MemoryError as fault:
        raise WeightsError(f"{path} does not fit into memory", hint="open it on a larger machine") from fault


def save(values: Mapping[str, object], path: Path, format: str = WeightsFormat.NPZ) -> None:  # noqa: A002 - the word of the trade
    """Write arrays to a file, whole or not at all, in the place of an older one; raises `WeightsError`.

    .pkl and .npz keep each array's byte order; .safetensors is little-endian by definition.
    """
    kind = _format(format)
    checked = arrays.check(values)
    with _replacing(path) as file:
        _DUMP[kind](checked, file)


def convert(source: Path, dest: Path, format: str, *, overwrite: bool = True) -> None:  # noqa: A002 - the word of the trade
    """Read weights and write them in another format; raises `WeightsError` and leaves `dest` as it was.

    Without `overwrite`, a `dest` that is there must hold the very same arrays, and stays as it is.
    """
    values = load(source)
    if overwrite or not dest.exists():
        save(values, dest, format)
    elif not _holds(dest, values):
        message = f"{dest} is there already, and holds other weights than {source}"
        raise WeightsError(message, hint="gpurun fetch-weights --to DIR, an empty folder, leaves both as they are")


def target_folder(path: Path) -> Path:
    """The folder, made where it was not there, and writable; raises `WeightsError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as fault:
        reason = f"{fault.filename} is not a folder" if isinstance(fault, _NO_FOLDER) else fault.strerror or fault
        message = f"no weights can be written to {path}: {reason}"
        raise WeightsError(message, hint="name a folder that is there or can be made: --to DIR") from fault
    return path


def copy(source: Path, dest: Path) -> None:
    """Copy a file as it is, whole or not at all; raises `WeightsError`."""
    try:
        original = source.open("rb")
    except OSError as fault:
        raise _unreadable(source, fault) from fault
    with original, _replacing(dest) as file:
        shutil.copyfileobj(original, file)


def find(folder: Path) -> list[Path]:
    """The weights files below a folder, the newest first; links and hidden names are passed over."""
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES and not _hidden(path, folder) and path.is_file() and not path.is_symlink()
    ]
    return sorted(found, key=lambda path: (-path.stat().st_mtime_ns, str(path)))


def _holds(path: Path, values: Mapping[str, Array]) -> bool:
    try:
        found = load(path)
    except WeightsError:
        return False
    return found.keys() == values.keys() and all(arrays.identical(found[name], values[name]) for name in values)


def _read(path: Path, known: WeightsFormat) -> dict[str, Array]:
    if known is WeightsFormat.PKL:
        return pickled.loads(path.read_bytes())
    return zipped.load(path) if known is WeightsFormat.NPZ else tensors.load(path)


def _unreadable(path: Path, fault: OSError) -> WeightsError:
    return WeightsError(f"cannot read {path}: {fault.strerror or fault}", hint=f"see `ls -l {path}`")


def _format(word: str) -> WeightsFormat:
    try:
        return WeightsFormat(word)
    except ValueError as fault:
        expected = ", ".join(WeightsFormat)
        raise WeightsError(f"{word!r} is no format for weights", hint=f"choose one of {expected}") from fault


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path` that takes its place once it is whole and on the disk."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as fault:
        message = f"cannot write {path}: {fault.strerror or fault}"
        raise WeightsError(message, hint=f"see `df -h {path.parent}` and `ls -ld {path.parent}`") from fault
    finally:
        part.unlink(missing_ok=True)
