"""Weights as they leave a job: {name: array}, pickled, or in an npz."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import JobError
from jobs.files import write_atomically

STEM = "weights"
ENDINGS: Mapping[str, str] = MappingProxyType({"pickle": "pkl", "npz": "npz", "safetensors": "safetensors"})
MODEL_NAME = "model.keras"
PROTOCOL = 4
ALLOWED = frozenset(
    {
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
    }
)
"""The globals that arrays of plain numbers need, as NumPy 1 and NumPy 2 name them."""

BROKEN = (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, TypeError, MemoryError)
"""What an unpickler raises on nonsense, with ValueError (Python documentation, pickle.UnpicklingError)."""


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that finds NumPy's arrays and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def save(folder: Path, weights: Mapping[str, NDArray[Any]], kind: str = "pickle") -> Path:
    """Write weights.pkl, .npz or .safetensors atomically, as `kind` says; raises `JobError`."""
    arrays = {name: np.ascontiguousarray(array) for name, array in weights.items()}
    path = folder / f"{STEM}.{ENDINGS[kind]}"
    if kind == "npz":
        write_atomically(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]  # no array is called allow_pickle
    elif kind == "safetensors":
        write_atomically(path, lambda file: file.write(_safetensors().save(arrays)))
    else:
        write_atomically(path, lambda file: pickle.dump(arrays, file, protocol=PROTOCOL))
    return path


def save_model(folder: Path, model: Any) -> Path:
    """Write the whole Keras model as model.keras, atomically; raises `JobError` when the disk does not take it."""
    path, beside = folder / MODEL_NAME, folder / f".part-{MODEL_NAME}"
    try:
        model.save(beside)
        beside.replace(path)
    except OSError as error:
        raise JobError(f"cannot write {path}: {error.strerror or error}", exit_code=1) from error
    finally:
        beside.unlink(missing_ok=True)
    return path


def _safetensors() -> Any:
    try:
        import safetensors.numpy  # noqa: PLC0415  # wanted for this format alone
    except ModuleNotFoundError as error:
        raise JobError("safetensors is not installed: pip install safetensors, or choose another format") from error
    return safetensors.numpy


def load(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in a .pkl, .npz or .safetensors; raises `JobError` for anything else.

    Nothing that a pickle asks for is run.
    """
    try:
        if path.suffix == ".safetensors":
            return _load_safetensors(path)
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        found = _ArraysOnly(io.BytesIO(path.read_bytes())).load()
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, *BROKEN) as error:
        raise JobError(f"{path} holds no weights that can be trusted: {error}") from error
    if not isinstance(found, dict) or not all(_plain(array) for array in found.values()):
        raise JobError(f"{path} holds something else than names and arrays of numbers")
    return found


def _load_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    data, library = path.read_bytes(), _safetensors()
    try:
        return dict(library.load(data))
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "safetensors":
            raise
        raise ValueError(str(error)) from error  # its own kind of error derives from Exception alone


def _plain(array: object) -> bool:
    return isinstance(array, np.ndarray) and not array.dtype.hasobject
