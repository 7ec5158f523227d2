"""MNIST as it was published: four IDX files in a folder, gzipped or not.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits (the format is at the end of that page):
two zero bytes, a type byte (8: unsigned byte), the number of dimensions, each dimension as a big-endian 32-bit
integer, then the data.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.datasets import gzipped
from jobs.datasets.dataset import Dataset, check_labels
from jobs.errors import JobError

PARTS = ("train-images", "train-labels", "t10k-images", "t10k-labels")
UNSIGNED_BYTE = 8


def find(folder: Path) -> dict[str, Path]:
    """The files of `PARTS` in `folder`, as far as they are there, whatever the mirror calls their ending."""
    found = {}
    for part in PARTS:
        dimensions = 3 if part.endswith("images") else 1
        for ending in (f"-idx{dimensions}-ubyte", f".idx{dimensions}-ubyte"):
            for path in (folder / f"{part}{ending}", folder / f"{part}{ending}.gz"):
                if part not in found and path.is_file():
                    found[part] = path
    return found


def read(files: Mapping[str, Path]) -> Dataset:
    """MNIST, its own 10,000 test digits held out; raises `JobError` for files that do not fit each other."""
    train_x, train_y = _read_pair(files["train-images"], files["train-labels"])
    test_x, test_y = _read_pair(files["t10k-images"], files["t10k-labels"])
    if train_x.shape[1:] != test_x.shape[1:]:
        sizes = [" x ".join(map(str, images.shape[1:])) for images in (test_x, train_x)]
        raise JobError(f"{files['t10k-images']} has images of {sizes[0]} pixels: the training images have {sizes[1]}")
    return Dataset(
        name="MNIST",
        train_x=train_x.reshape(len(train_x), -1),
        train_y=train_y,
        test_x=test_x.reshape(len(test_x), -1),
        test_y=test_y,
        scale=1 / 255,
        image_shape=(*train_x.shape[1:], 1),
    )


def _read_pair(images: Path, labels: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    x, y = read_array(images, dimensions=3), read_array(labels, dimensions=1).astype(np.int64)
    if len(x) != len(y):
        raise JobError(f"{images} has {len(x)} images and {labels.name} {len(y)} labels: expected as many")
    check_labels(y, str(labels), first_line=0)
    return x, y


def read_array(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """The array in one IDX file of unsigned bytes; raises `JobError` for any other content."""
    data = gzipped.read_bytes(path)
    header_bytes = 4 + 4 * dimensions
    if len(data) < header_bytes or data[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        raise JobError(f"{path} is no IDX file of unsigned bytes in {dimensions} dimension(s)")
    shape = struct.unpack(f">{dimensions}I", data[4:header_bytes])
    size_bytes = int(np.prod(shape, dtype=np.uint64))
    if len(data) != header_bytes + size_bytes or not size_bytes:
        raise JobError(
            f"{path} has the wrong shape: its header says {' x '.join(map(str, shape))}, "
            f"which is {size_bytes} bytes, and {len(data) - header_bytes} follow"
        )
    return np.frombuffer(data, np.uint8, offset=header_bytes).reshape(shape)
