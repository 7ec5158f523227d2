"""NPZ: a user's own arrays, under the names that Keras's mnist.npz has.

`x_train`, `y_train`, `x_test`, `y_test`, and `x_valid`, `y_valid` where there are rows to choose by (`train_x` and so
on, and `val` for `valid`, mean the same). What an array is, its type and shape say:

- x of whole numbers in 0..255: pixels, (rows, pixels), (rows, height, width) or (rows, height, width, channels);
- x of floats: (rows, inputs), or sequences (rows, steps, features), steps that are none filled with -1 in every
  feature, or pictures (rows, height, width, channels);
- y of whole numbers (rows,): classes 0, 1, ..; y of floats, (rows,) or (rows, targets): numbers, NaN where one is
  missing.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.datasets import pixels
from jobs.datasets.dataset import Dataset, square
from jobs.errors import JobError

PARTS: Mapping[str, tuple[str, ...]] = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}
BROKEN = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def read(path: Path) -> Dataset:
    """The arrays in `path`; raises `JobError` for any that are missing or cannot be, and never unpickles."""
    arrays = _load(path)
    x = {part: _find(arrays, "x", part, path) for part in PARTS}
    y = {part: _find(arrays, "y", part, path) for part in PARTS}
    if (x["valid"] is None) != (y["valid"] is None):
        raise JobError(f"{path} has one of x_valid and y_valid: expected both, or none")
    inputs, scale, image_shape = _inputs({part: array for part, array in x.items() if array is not None}, path)
    answers, classes = _answers({part: array for part, array in y.items() if array is not None}, path)
    targets = () if classes else tuple(f"target {column}" for column in range(answers["train"].shape[1]))
    return Dataset(
        name="arrays",
        train_x=inputs["train"],
        train_y=answers["train"],
        valid_x=inputs.get("valid"),
        valid_y=answers.get("valid"),
        test_x=inputs["test"],
        test_y=answers["test"],
        scale=scale,
        classes=classes,
        targets=targets,
        image_shape=image_shape,
    )


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror or error}") from error
    except (*BROKEN, AttributeError, TypeError) as error:
        raise JobError(f"{path} is no NPZ of plain arrays: {error}") from error


def _find(arrays: Mapping[str, NDArray[Any]], letter: str, part: str, path: Path) -> NDArray[Any] | None:
    for name in PARTS[part]:
        for called in (f"{letter}_{name}", f"{name}_{letter}"):
            if called in arrays:
                return arrays[called]
    if part == "valid":
        return None
    held = ", ".join(sorted(arrays)) or "nothing"
    raise JobError(f"{path} lacks {letter}_{part}: it holds {held}; expected x_train, y_train, x_test and y_test")


def _inputs(
    x: Mapping[str, NDArray[Any]], path: Path
) -> tuple[dict[str, NDArray[Any]], float, tuple[int, int, int] | None]:
    """(inputs by part, scale, image_shape)."""
    for part, array in x.items():
        if array.dtype.kind not in "fiu" or array.ndim not in (2, 3, 4) or not array.size:
            raise JobError(
                f"{path}: x_{part} is {array.dtype} of the shape {array.shape}: expected numbers (rows, inputs), "
                f"(rows, steps, features) or (rows, height, width, channels)"
            )
    train = x["train"]
    whole = all(map(_is_pixels, x.values()))
    shape = _image_shape(train.shape[1:], whole=whole)
    kept = {part: array.astype(np.uint8 if whole else np.float32) for part, array in x.items()}
    if shape is not None:
        _check_same(x, path)
        kept = {part: array.reshape(len(array), -1) for part, array in kept.items()}
    return kept, 1 / pixels.BRIGHTEST if whole else 1.0, shape


def _check_same(x: Mapping[str, NDArray[Any]], path: Path) -> None:
    for part, array in x.items():
        if array.shape[1:] != x["train"].shape[1:]:
            shapes = f"rows of {array.shape[1:]}: those of x_train have {x['train'].shape[1:]}"
            raise JobError(f"{path}: x_{part} has {shapes}")


def _is_pixels(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "iu" and bool(array.min() >= 0 and array.max() <= pixels.BRIGHTEST)


def _image_shape(shape: tuple[int, ...], *, whole: bool) -> tuple[int, int, int] | None:
    """Of rows of `shape`; None where they are no pictures."""
    if len(shape) == 3:
        return (shape[0], shape[1], shape[2])
    if not whole:
        return None
    return (shape[0], shape[1], 1) if len(shape) == 2 else square(shape[0])


def _answers(y: Mapping[str, NDArray[Any]], path: Path) -> tuple[dict[str, NDArray[Any]], int]:
    """(targets by part, classes); no classes: the targets are numbers."""
    columns = {part: array.reshape(-1) if array.shape[1:] == (1,) else array for part, array in y.items()}
    if all(array.dtype.kind in "iub" and array.ndim == 1 for array in columns.values()):
        labels = {part: array.astype(np.int64) for part, array in columns.items()}
        for part, array in labels.items():
            if array.size and array.min() < 0:
                row = int(np.argmax(array < 0))
                raise JobError(f"{path}: y_{part}: row {row} has the label {array[row]}: expected 0, 1, ..")
        return labels, int(max(array.max(initial=0) for array in labels.values())) + 1
    if all(array.dtype.kind == "f" and array.ndim in (1, 2) for array in columns.values()):
        return {part: array.astype(np.float32).reshape(len(array), -1) for part, array in columns.items()}, 0
    told = ", ".join(f"y_{part} {array.dtype} {array.shape}" for part, array in y.items())
    raise JobError(f"{path}: {told}: expected whole numbers (rows,), or floats (rows,) or (rows, targets)")
