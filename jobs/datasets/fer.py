"""FER2013: faces of 48x48 grey pixels that show one of seven expressions; a CSV of `emotion,pixels,Usage`.

Source: Goodfellow et al., Challenges in representation learning: a report on three machine learning contests, 2013.
`Usage` says which rows are to train with, to choose with (PublicTest) and to be judged by (PrivateTest). Kaggle's
icml_face_data.csv has the same columns in another order; both are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.datasets import picture_csv, pixels
from jobs.datasets.dataset import Dataset
from jobs.errors import JobError

COLUMNS = ("emotion", "pixels", "Usage")
EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
TRAIN, VALID, TEST = USAGES = ("Training", "PublicTest", "PrivateTest")
SIDE = 48


def read(path: Path) -> Dataset:
    """The faces in `path`; raises `JobError` that names the line and column of what cannot be."""
    pictures, labels, usages = [np.empty((0, SIDE * SIDE), np.uint8)], [], []
    try:
        with path.open("rb") as file:
            columns = picture_csv.header(file.readline())
            check_columns(columns, path)
            rest = [name for name in columns if name != "pixels"]
            for block in picture_csv.read_blocks(file, path, columns, "pixels", SIDE * SIDE):
                pictures.append(block.pictures)
                for line, cells in zip(block.lines, block.cells, strict=True):
                    row = dict(zip(rest, cells, strict=True))
                    labels.append(_label(row["emotion"], f"{path}:{line}"))
                    usages.append(_usage(row["Usage"], f"{path}:{line}"))
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror}") from error
    return _dataset(np.concatenate(pictures), np.array(labels, np.int64), np.array(usages, np.int64), path)


def check_columns(columns: Sequence[str], path: Path) -> None:
    """Raise `JobError` unless they are those of FER2013, in any order."""
    if sorted(columns) != sorted(COLUMNS):
        missing = ", ".join(name for name in COLUMNS if name not in columns) or "none, but others are there"
        raise JobError(
            f"{path}: missing column(s) {missing}: expected {','.join(COLUMNS)}, as fer2013.csv and "
            f"icml_face_data.csv have them"
        )


def _label(text: str, where: str) -> int:
    if not text.isdecimal() or int(text) >= len(EXPRESSIONS):
        raise JobError(f"{where}: emotion is {text!r}: expected 0 to {len(EXPRESSIONS) - 1}")
    return int(text)


def _usage(text: str, where: str) -> int:
    if text not in USAGES:
        raise JobError(f"{where}: Usage is {text!r}: expected {', '.join(USAGES)}")
    return USAGES.index(text)


def _dataset(x: NDArray[np.uint8], y: NDArray[np.int64], usages: NDArray[np.int64], path: Path) -> Dataset:
    train, valid, test = (np.flatnonzero(usages == number) for number in range(len(USAGES)))
    for usage, rows in ((TRAIN, train), (TEST, test)):
        if not rows.size:
            raise JobError(f"{path} has no rows of Usage {usage}")
    return Dataset(
        name="facial expressions",
        train_x=x[train],
        train_y=y[train],
        valid_x=x[valid] if valid.size else None,
        valid_y=y[valid] if valid.size else None,
        test_x=x[test],
        test_y=y[test],
        scale=1 / pixels.BRIGHTEST,
        classes=len(EXPRESSIONS),
        image_shape=(SIDE, SIDE, 1),
    )
