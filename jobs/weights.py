"""Weights as they leave a job: {name: array}, pickled, or in an npz."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs import pickled
from jobs.errors import JobError
from jobs.files import write_atomically

STEM = "weights"
ENDINGS: Mapping[str, str] = MappingProxyType({"pickle": "pkl", "npz": "npz", "safetensors": "safetensors"})
MODEL_NAME = "model.keras"
PROTOCOL = 4


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
    from jobs.first_weights import made_plain  # noqa: PLC0415  # it imports Keras

    path, beside = folder / MODEL_NAME, folder / f".part-{MODEL_NAME}"
    made_plain(model)
    try:
        model.save(beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
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
        found = pickled.load(path.read_bytes())
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, *pickled.BROKEN) as error:
        raise JobError(f"{path} holds no weights that can be trusted: {error}") from error
    if not isinstance(found, dict) or not all(pickled.is_plain(array) for array in found.values()):
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
