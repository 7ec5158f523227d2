"""What every reader of data returns."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.errors import JobError

DIGIT_CLASSES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Rows to train on and rows held out; what a pixel holds times `scale` lies in 0..1."""

    name: str
    train_x: NDArray[np.uint8]  # (rows, inputs)
    train_y: NDArray[np.int64]  # (rows,), 0 .. classes - 1
    test_x: NDArray[np.uint8]  # (test rows, inputs)
    test_y: NDArray[np.int64]  # (test rows,)
    scale: float
    classes: int = DIGIT_CLASSES

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.train_x.shape[1:]

    @property
    def fingerprint(self) -> str:
        """The same for the same training rows, wherever they were read from."""
        return f"{len(self.train_x)} rows, {zlib.crc32(self.train_x.data, zlib.crc32(self.train_y.data)):08x}"

    def __str__(self) -> str:
        """One line that says what it holds."""
        inputs = " x ".join(map(str, self.input_shape))
        rows = f"{len(self.train_x):,} training rows, {len(self.test_x):,} test rows"
        return f"{self.name}: {rows}, {inputs} inputs, {self.classes} classes"


def check_labels(labels: NDArray[np.int64], where: str, *, first_line: int) -> None:
    """Raise `JobError` for the first label outside 0..9; `first_line` is how the file counts its first row."""
    wrong = np.flatnonzero((labels < 0) | (labels >= DIGIT_CLASSES))
    if wrong.size:
        row = int(wrong[0])
        raise JobError(
            f"{where}: row {row + first_line} has the label {labels[row]}: expected 0 to {DIGIT_CLASSES - 1}"
        )
