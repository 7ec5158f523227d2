"""Weights as they leave a job: {name: array}, pickled, or in an npz."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import JobError
from jobs.files import write_atomically

NAME = "weights.pkl"
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


def save(folder: Path, weights: Mapping[str, NDArray[Any]]) -> None:
    """Write weights.pkl atomically."""
    arrays = {name: np.ascontiguousarray(array) for name, array in weights.items()}
    write_atomically(folder / NAME, lambda file: pickle.dump(arrays, file, protocol=PROTOCOL))


def load(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in a .pkl or .npz; raises `JobError` for anything else, and runs nothing that a pickle asks for."""
    try:
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


def _plain(array: object) -> bool:
    return isinstance(array, np.ndarray) and not array.dtype.hasobject
