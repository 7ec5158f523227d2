"""Rows whose answers are not known: the files for which Kaggle wants predictions.

`test.csv` of the digits has `pixel0`, `pixel1`, ..; that of the key points has `ImageId,Image`.
Sources: https://www.kaggle.com/c/digit-recognizer/data, https://www.kaggle.com/c/facial-keypoints-detection/data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.datasets import kaggle, key_points, picture_csv, pixels
from jobs.datasets.dataset import Dataset, square
from jobs.errors import JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlabelled:
    """Rows and what Kaggle calls them."""

    numbers: NDArray[np.int64]  # (rows,) the ImageId
    x: NDArray[np.uint8]  # (rows, pixels)

    def dataset(self, classes: int, targets: tuple[str, ...]) -> Dataset:
        """The rows as a data set's, for a network that answers those classes or targets; the answers in it are 0."""
        y = np.zeros(len(self.x), np.int64) if classes else np.zeros((len(self.x), len(targets)), np.float32)
        return Dataset(
            name="rows without answers",
            train_x=self.x,
            train_y=y,
            test_x=self.x,
            test_y=y,
            scale=1 / pixels.BRIGHTEST,
            classes=classes,
            targets=targets,
            image_shape=square(self.x.shape[1]),
        )


def read(path: Path) -> Unlabelled | None:
    """The rows in `path`; None where it is no such file. Raises `JobError` for what cannot be in one."""
    if path.suffix != ".csv" or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            columns = picture_csv.header(file.readline())
        if columns == [f"pixel{number}" for number in range(len(columns))]:
            x = kaggle.read_rows(path, columns)
            numbers = np.arange(1, len(x) + 1)
        elif key_points.IMAGE_ID in columns:
            numbers, x = key_points.read_images(path)
        else:
            return None
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror}") from error
    if not len(x):
        raise JobError(f"{path} has no rows")
    return Unlabelled(numbers=numbers, x=x)
