"""What every reader of data returns."""

from __future__ import annotations

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


def check_labels(labels: NDArray[np.int64], where: str, *, first_line: int) -> None:
    """Raise `JobError` for the first label outside 0..9; `first_line` is how the file counts its first row."""
    wrong = np.flatnonzero((labels < 0) | (labels >= DIGIT_CLASSES))
    if wrong.size:
        row = int(wrong[0])
        raise JobError(
            f"{where}: row {row + first_line} has the label {labels[row]}: expected 0 to {DIGIT_CLASSES - 1}"
        )
