"""MNIST as the Theano tutorials have it: mnist.pkl.gz, with 10,000 of the training digits set aside to choose by.

Source: the deep learning tutorials of LISA, Montreal (deck 4 reads the file). A pickle, as Python 2 wrote it, of three
pairs: images (rows, 784) float32 in 0..1 and labels (rows,), to train, to choose and to test with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs import pickled
from jobs.datasets import gzipped
from jobs.datasets.dataset import DIGIT_CLASSES, Dataset, check_labels, square
from jobs.errors import JobError

PARTS = ("training", "validation", "test")


def read(path: Path) -> Dataset:
    """MNIST; raises `JobError` for any other content, and runs nothing that the pickle asks for."""
    data = gzipped.read_bytes(path)
    try:
        found = pickled.load(data)
    except ValueError as error:
        raise JobError(f"{path} is no pickle of arrays that can be trusted: {error}") from error
    if not isinstance(found, tuple | list) or len(found) != len(PARTS):
        raise JobError(f"{path} holds something else than three pairs of images and labels")
    pairs = [_pair(pair, f"{path}: {part}") for part, pair in zip(PARTS, found, strict=True)]
    (train_x, train_y), (valid_x, valid_y), (test_x, test_y) = pairs
    return Dataset(
        name="MNIST (mnist.pkl.gz)",
        train_x=train_x,
        train_y=train_y,
        valid_x=valid_x,
        valid_y=valid_y,
        test_x=test_x,
        test_y=test_y,
        scale=1.0,
        classes=DIGIT_CLASSES,
        image_shape=square(train_x.shape[1]),
    )


def _pair(pair: Any, where: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    whole = isinstance(pair, tuple | list) and len(pair) == 2 and all(map(pickled.is_plain, pair))
    if not whole or pair[0].ndim != 2 or pair[1].ndim != 1 or len(pair[0]) != len(pair[1]):
        raise JobError(f"{where}: expected images (rows, pixels) and as many labels (rows,)")
    x, y = pair
    if x.dtype.kind != "f" or y.dtype.kind not in "iu":
        raise JobError(f"{where}: images of {x.dtype} and labels of {y.dtype}: expected floats and whole numbers")
    labels = y.astype(np.int64)
    check_labels(labels, where, first_line=0)
    if not ((x >= 0) & (x <= 1)).all():
        row, column = (int(index) for index in np.argwhere(~((x >= 0) & (x <= 1)))[0])
        raise JobError(f"{where}: row {row}, column {column} is {x[row, column]}: expected 0 to 1")
    return np.ascontiguousarray(x, np.float32), labels
