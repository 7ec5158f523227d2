"""MNIST from a folder of IDX files, as the NPZ that every variant reads."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
DECK_TRAIN_ROWS, DECK_TEST_ROWS = 41_000, 1_000
SEED = 2013


def is_mnist(folder: Path) -> bool:
    """Whether the four files are there."""
    return all(_path(folder, part) for part in PARTS)


@dataclass(frozen=True, slots=True)
class Split:
    """Where an NPZ lies, and how much is in it."""

    path: Path
    train_rows: int
    test_rows: int


def make(mnist: Path, folder: Path, *, deck_split: bool, most_rows: int | None) -> Split:
    """Write the NPZ: bytes, x (rows, 28, 28) and y (rows,); `most_rows`: no more training rows than that."""
    train_x, train_y, test_x, test_y = (_read(mnist, part) for part in PARTS)
    if deck_split:
        x, y = np.concatenate([train_x, test_x]), np.concatenate([train_y, test_y])
        drawn = np.random.default_rng(SEED).permutation(len(x))[: DECK_TRAIN_ROWS + DECK_TEST_ROWS]
        train, test = drawn[:DECK_TRAIN_ROWS], drawn[DECK_TRAIN_ROWS:]
        train_x, train_y, test_x, test_y = x[train], y[train], x[test], y[test]
    train_x, train_y = train_x[:most_rows], train_y[:most_rows]
    path = folder / ("deck.npz" if deck_split else "mnist.npz")
    np.savez(path, x_train=train_x, y_train=train_y, x_test=test_x, y_test=test_y)
    return Split(path, len(train_x), len(test_x))


def pixels(path: Path, *, pictures: bool) -> tuple[NDArray[np.float32], ...]:
    """(x_train, y_train, x_test, y_test), x as 0..1: rows of 784 numbers, or (rows, 28, 28, 1)."""
    shape = (-1, 28, 28, 1) if pictures else (-1, 784)
    with np.load(path) as arrays:
        x_train, x_test = (arrays[name].reshape(shape).astype("float32") / 255 for name in ("x_train", "x_test"))
        return x_train, arrays["y_train"].astype("int64"), x_test, arrays["y_test"].astype("int64")


def _path(folder: Path, part: str) -> Path | None:
    paths = [folder / f"{part}-ubyte{ending}" for ending in ("", ".gz")]
    return next((path for path in paths if path.is_file()), None)


def _read(folder: Path, part: str) -> NDArray[np.uint8]:
    """The numbers of one file, whose header is 4 bytes and 4 more for each dimension."""
    path = _path(folder, part)
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    numbers = np.frombuffer(raw, np.uint8, offset=8 if "labels" in part else 16)
    return numbers if "labels" in part else numbers.reshape(-1, 28, 28)
