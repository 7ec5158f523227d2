"""What every reader of data returns, and what must hold of it."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import JobError

DIGIT_CLASSES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Rows to train on and rows held out; what an input holds times `scale` is what a network sees.

    Targets are classes, or numbers: then `classes` is 0, `targets` names the columns, and NaN is what is missing.
    """

    name: str
    train_x: NDArray[Any]  # (rows, inputs), or (rows, steps, features) of sequences; uint8 or float32
    train_y: NDArray[Any]  # (rows,) int64, 0 .. classes - 1; or (rows, targets) float32
    test_x: NDArray[Any]  # (test rows, ..)
    test_y: NDArray[Any]  # (test rows, ..)
    scale: float
    classes: int = DIGIT_CLASSES
    targets: tuple[str, ...] = ()
    image_shape: tuple[int, int, int] | None = None
    """(height, width, channels) of the picture that a row of inputs is, row by row; None: it is none."""
    valid_x: NDArray[Any] | None = None
    """Rows that a set brings for choosing by (mnist.pkl.gz does); None: hold some of the training rows out."""
    valid_y: NDArray[Any] | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.train_x.shape[1:]

    @property
    def fingerprint(self) -> str:
        """The same for the same training rows, wherever they were read from."""
        rows, labels = np.ascontiguousarray(self.train_x), np.ascontiguousarray(self.train_y)
        return f"{len(rows)} rows, {zlib.crc32(rows.data, zlib.crc32(labels.data)):08x}"

    def __str__(self) -> str:
        """One line that says what it holds."""
        inputs = " x ".join(map(str, self.input_shape))
        rows = f"{len(self.train_x):,} training rows, {len(self.test_x):,} test rows"
        answers = f"{self.classes} classes" if self.classes else f"{len(self.targets)} targets"
        return f"{self.name}: {rows}, {inputs} inputs, {answers}"


def square(pixels: int) -> tuple[int, int, int] | None:
    """The grey square picture with that many pixels; None where they fill no square."""
    side = math.isqrt(pixels)
    return (side, side, 1) if side * side == pixels else None


def check_labels(labels: NDArray[np.int64], where: str, *, first_line: int, classes: int = DIGIT_CLASSES) -> None:
    """Raise `JobError` for the first label outside 0 .. classes - 1; `first_line` is how the file counts its first."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        row = int(wrong[0])
        raise JobError(f"{where}: row {row + first_line} has the label {labels[row]}: expected 0 to {classes - 1}")


def check(dataset: Dataset) -> Dataset:
    """The same data set, if it can be trained on; rows and columns count from 0.

    Raises `JobError` for parts without rows or of different shapes, inputs that are no finite numbers, labels out of
    range, classes that no training row has, and targets that are infinite or that no training row has.
    """
    for part, x, y in parts(dataset):
        where = f"{dataset.name}: {part}"
        _check_shapes(dataset, where, x, y)
        _check_finite(where, x)
        if dataset.classes:
            check_labels(y, where, first_line=0, classes=dataset.classes)
    _check_answers(dataset)
    return dataset


def parts(dataset: Dataset) -> list[tuple[str, NDArray[Any], NDArray[Any]]]:
    """(name, inputs, targets) of each part that is there."""
    found = [("training", dataset.train_x, dataset.train_y), ("test", dataset.test_x, dataset.test_y)]
    if dataset.valid_x is not None and dataset.valid_y is not None:
        found.append(("validation", dataset.valid_x, dataset.valid_y))
    return found


def _check_shapes(dataset: Dataset, where: str, x: NDArray[Any], y: NDArray[Any]) -> None:
    if not len(x):
        raise JobError(f"{where}: there are no rows")
    if len(x) != len(y):
        raise JobError(f"{where}: {len(x)} rows of inputs and {len(y)} of targets: expected as many")
    if x.shape[1:] != dataset.input_shape or not x.size:
        raise JobError(f"{where}: inputs of the shape {x.shape[1:]}: the training rows have {dataset.input_shape}")
    answers = () if dataset.classes else (len(dataset.targets),)
    if y.shape[1:] != answers:
        raise JobError(f"{where}: targets of the shape {y.shape[1:]} a row: expected {answers}")


def _check_finite(where: str, x: NDArray[Any]) -> None:
    if x.dtype.kind != "f" or np.isfinite(x).all():
        return
    row, *rest = (int(index) for index in np.argwhere(~np.isfinite(x))[0])
    place = f"column {rest[0]}" if len(rest) == 1 else f"step {rest[0]}, feature {rest[1]}"
    raise JobError(f"{where}: row {row}, {place} is {x[row, *rest]}: expected a finite number in every input")


def _check_answers(dataset: Dataset) -> None:
    if dataset.classes:
        if dataset.classes > len(dataset.train_y):
            rows = f"{len(dataset.train_y)} training rows"
            raise JobError(f"{dataset.name}: labels up to {dataset.classes - 1} in {rows}: expected some rows of each")
        counts = np.bincount(dataset.train_y, minlength=dataset.classes)
        if missing := np.flatnonzero(counts == 0).tolist():
            named = ", ".join(map(str, missing[:5]))
            raise JobError(
                f"{dataset.name}: no training row has the label {named}: expected 0 to {dataset.classes - 1}"
            )
        return
    for part, _, y in parts(dataset):
        if np.isinf(y).any():
            row, column = (int(index) for index in np.argwhere(np.isinf(y))[0])
            raise JobError(f"{dataset.name}: {part}: row {row}, {dataset.targets[column]} is infinite")
    for column in np.flatnonzero(np.isnan(dataset.train_y).all(axis=0)).tolist():
        raise JobError(f"{dataset.name}: no training row has a value of {dataset.targets[column]}")
