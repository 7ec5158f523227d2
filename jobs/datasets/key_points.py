"""Kaggle's facial key points: 96x96 grey faces and where eyes, brows, nose and mouth are in them.

Source: https://www.kaggle.com/c/facial-keypoints-detection/data. training.csv has 30 columns, `left_eye_center_x`,
`left_eye_center_y`, .., in pixels, empty where a point was not marked, and `Image`, 9,216 numbers with spaces between
them. Left and right are those of the person. test.csv has `ImageId,Image`.

Targets are scaled to -1..1 as deck 2 does it: (pixels - 48) / 48. Every fifth row is held out: the real file has the
fully marked faces first, so that its end would judge four of the fifteen points alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.datasets import picture_csv, pixels
from jobs.datasets.dataset import Dataset
from jobs.errors import JobError

POINTS = (
    "left_eye_center",
    "right_eye_center",
    "left_eye_inner_corner",
    "left_eye_outer_corner",
    "right_eye_inner_corner",
    "right_eye_outer_corner",
    "left_eyebrow_inner_end",
    "left_eyebrow_outer_end",
    "right_eyebrow_inner_end",
    "right_eyebrow_outer_end",
    "nose_tip",
    "mouth_left_corner",
    "mouth_right_corner",
    "mouth_center_top_lip",
    "mouth_center_bottom_lip",
)
COLUMNS = tuple(f"{point}_{axis}" for point in POINTS for axis in "xy")
IMAGE, IMAGE_ID = "Image", "ImageId"
SIDE = 96
HALF_SIDE = SIDE / 2
HELD_OUT = 5
"""One row of so many."""


def read(path: Path) -> Dataset:
    """The faces in `path`, NaN where a point is missing; raises `JobError` by line and column of what cannot be."""
    columns, cells, pictures = _read(path, check_columns)
    targets = tuple(name for name in columns if name != IMAGE)
    values = np.array(cells, np.float64).reshape(-1, len(targets))
    if len(values) < HELD_OUT:
        raise JobError(f"{path} has {len(values)} row(s): expected at least {HELD_OUT}, to hold some of them out")
    return dataset("facial key points", pictures, values, targets)


def dataset(name: str, pictures: NDArray[np.uint8], values: NDArray[np.float64], targets: Sequence[str]) -> Dataset:
    """The data set of those pictures and targets in pixels, every fifth row held out."""
    y = to_targets(values)
    held_out = np.arange(len(y)) % HELD_OUT == HELD_OUT - 1
    return Dataset(
        name=name,
        train_x=pictures[~held_out],
        train_y=y[~held_out],
        test_x=pictures[held_out],
        test_y=y[held_out],
        scale=1 / pixels.BRIGHTEST,
        classes=0,
        targets=tuple(targets),
        image_shape=(SIDE, SIDE, 1),
    )


def read_images(path: Path) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """(ImageId (rows,), pictures (rows, 9216)) of a test.csv; raises `JobError` likewise."""
    _, cells, pictures = _read(path, _check_test_columns)
    return np.array(cells, np.float64).reshape(-1).astype(np.int64), pictures


def to_targets(values: NDArray[Any]) -> NDArray[np.float32]:
    """Places in pixels, scaled to -1..1."""
    scaled: NDArray[np.float32] = ((values - HALF_SIDE) / HALF_SIDE).astype(np.float32)
    return scaled


def to_pixels(targets: NDArray[Any]) -> NDArray[np.float64]:
    """Places in pixels of what `to_targets` scaled, or a network answered."""
    return np.asarray(targets, np.float64) * HALF_SIDE + HALF_SIDE


def check_columns(columns: Sequence[str], path: Path) -> None:
    """Raise `JobError` unless they are some of Kaggle's thirty, each x with its y, and `Image`."""
    targets = [name for name in columns if name != IMAGE]
    if unknown := [name for name in targets if name not in COLUMNS]:
        hint = "; Kaggle's test.csv has no targets, its training.csv has" if unknown == [IMAGE_ID] else ""
        raise JobError(f"{path}: unknown column(s) {', '.join(unknown[:3])}: expected {COLUMNS[0]}, ..{hint}")
    pairs = {name[:-2] for name in targets} or {POINTS[0]}
    wanted = [f"{point}_{axis}" for point in POINTS if point in pairs for axis in "xy"]
    _check_present([*wanted, IMAGE], columns, path)


def _check_test_columns(columns: Sequence[str], path: Path) -> None:
    _check_present([IMAGE_ID, IMAGE], columns, path)


def _check_present(wanted: Iterable[str], columns: Sequence[str], path: Path) -> None:
    wanted = list(wanted)
    if missing := [name for name in wanted if name not in columns]:
        raise JobError(f"{path}: missing column(s) {', '.join(missing[:3])}: expected {COLUMNS[0]}, .., {IMAGE}")
    if len(columns) != len(wanted):
        raise JobError(f"{path}: a column is there twice, or one too many: expected {', '.join(wanted)}")


def _read(path: Path, check: Any) -> tuple[list[str], list[list[float]], NDArray[np.uint8]]:
    rows: list[list[float]] = []
    pictures = [np.empty((0, SIDE * SIDE), np.uint8)]
    try:
        with path.open("rb") as file:
            columns = picture_csv.header(file.readline())
            check(columns, path)
            rest = [name for name in columns if name != IMAGE]
            for block in picture_csv.read_blocks(file, path, columns, IMAGE, SIDE * SIDE):
                pictures.append(block.pictures)
                rows += [
                    [_number(cell, f"{path}:{line}: {name}") for cell, name in zip(cells, rest, strict=True)]
                    for line, cells in zip(block.lines, block.cells, strict=True)
                ]
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror}") from error
    return columns, rows, np.concatenate(pictures)


def _number(text: str, where: str) -> float:
    """A place in pixels, NaN where there is none."""
    try:
        number = float(text) if text else math.nan
    except ValueError:
        number = math.inf
    if math.isinf(number):
        raise JobError(f"{where} is {text!r}: expected a number of pixels, or nothing")
    return number
