"""The 8x8 digits that come with scikit-learn: 1,797 rows, no download.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (the test
part of it). The file is read where scikit-learn keeps it: importing scikit-learn for 57 KB takes longer than training.
"""

from __future__ import annotations

import gzip
from importlib.machinery import PathFinder
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.datasets.dataset import DIGIT_CLASSES, Dataset
from jobs.errors import JobError

BRIGHTEST = 16
TEST_SHARE = 0.2
SPLIT_SEED = 1998
"""Of the split alone: every training seed is judged on the same held-out rows."""


def read() -> Dataset:
    """The digits, a fifth of every class held out; raises `JobError` where scikit-learn is missing."""
    table = np.loadtxt(gzip.decompress(_file().read_bytes()).decode().splitlines(), delimiter=",", dtype=np.int64)
    pixels, labels = table[:, :-1].astype(np.uint8), table[:, -1]
    held_out = stratified(labels, TEST_SHARE, np.random.default_rng(SPLIT_SEED))
    return Dataset(
        name="digits (8x8, bundled with scikit-learn)",
        train_x=pixels[~held_out],
        train_y=labels[~held_out],
        test_x=pixels[held_out],
        test_y=labels[held_out],
        scale=1 / BRIGHTEST,
        image_shape=(8, 8, 1),
    )


def stratified(labels: NDArray[np.int64], share: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """A mask (rows,) with `share` of the rows of every class, rounded, drawn without replacement."""
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in range(DIGIT_CLASSES):
        rows = random.permutation(np.flatnonzero(labels == label))
        chosen[rows[: round(share * len(rows))]] = True
    return chosen


def _file() -> Path:
    package = PathFinder.find_spec("sklearn")  # unlike importlib.util, it does not look into sys.modules
    if package is None or not package.submodule_search_locations:
        raise JobError("the bundled digits need scikit-learn: pip install scikit-learn, or give --data PATH")
    path = Path(package.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    if not path.is_file():
        raise JobError(f"scikit-learn has no {path}: give --data PATH")
    return path
