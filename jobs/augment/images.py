"""Pictures moved: by whole pixels, mirrored, through any affine map, brighter or darker.

Rows of any number type come back as that type; bytes are rounded. `image_shape` is (height, width) or
(height, width, channels) of the picture that each row (rows, height * width * channels) is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.augment.geometry import Maps

Shape = tuple[int, ...]
CHUNK_PIXELS = 2**15
"""What is warped at once: the dozen arrays that it takes stay in the processor's cache."""
WHITE = 255


def sides(image_shape: Shape) -> tuple[int, int, int]:
    """(height, width, channels)."""
    height, width, channels = (*image_shape, 1)[:3]
    return height, width, channels


def shifted(x: NDArray[Any], image_shape: Shape, down: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[Any]:
    """Each picture moved by whole pixels, `down` and `right` (rows,); what comes in at the edge is zero."""
    height, width, channels = sides(image_shape)
    pictures = x.reshape(-1, height, width, channels)
    moved = np.zeros_like(pictures)
    for move in np.unique(np.stack([down, right], axis=1), axis=0).tolist():
        rows = np.flatnonzero((down == move[0]) & (right == move[1]))
        (up_to, up_from), (across_to, across_from) = _overlap(move[0], height), _overlap(move[1], width)
        whole = np.zeros((len(rows), height, width, channels), x.dtype)
        whole[:, up_to, across_to] = pictures[rows][:, up_from, across_from]
        moved[rows] = whole
    return moved.reshape(x.shape)


def mirrored(x: NDArray[Any], image_shape: Shape, which: NDArray[np.bool_]) -> NDArray[Any]:
    """Left and right exchanged in the rows `which` (rows,)."""
    pictures = x.reshape(-1, *sides(image_shape)).copy()
    pictures[which] = pictures[which][:, :, ::-1]
    return pictures.reshape(x.shape)


def warped(x: NDArray[Any], image_shape: Shape, maps: Maps) -> NDArray[Any]:
    """Each picture through its map, bilinear between the four pixels around; its edge goes on outside of it."""
    height, width, channels = sides(image_shape)
    pictures = x.reshape(len(x), height * width, channels)
    back = np.linalg.inv(maps.matrix)  # for each pixel that is wanted, where it comes from
    start = -np.einsum("rij,rj->ri", back, maps.offset)
    across = (2 * np.arange(width) + 1) / width - 1
    down = (2 * np.arange(height) + 1) / height - 1
    moved = np.empty_like(pictures)
    size = max(1, CHUNK_PIXELS // (height * width))
    for first in range(0, len(x), size):
        rows = slice(first, first + size)
        column = _from(back[rows, 0], start[rows, 0], across, down, width)
        row = _from(back[rows, 1], start[rows, 1], across, down, height)
        moved[rows] = _bilinear(pictures[rows], column, row, width)
    return moved.reshape(x.shape)


def relit(x: NDArray[Any], contrast: NDArray[np.float64], brightness: NDArray[np.float64]) -> NDArray[Any]:
    """Bytes with `contrast` (rows,) times their distance from their row's mean, plus `brightness` (rows,) of white."""
    mean = x.mean(axis=1, keepdims=True, dtype=np.float32)
    lit: NDArray[np.float32] = x * contrast[:, None].astype(np.float32)
    lit += mean * (1 - contrast[:, None]).astype(np.float32) + (WHITE * brightness[:, None]).astype(np.float32)
    return _as(lit.clip(0, WHITE, out=lit), np.dtype(np.uint8))


def _overlap(move: int, side: int) -> tuple[slice, slice]:
    """Where along a side pixels go to, and where they come from."""
    move = max(-side, min(move, side))
    return slice(max(move, 0), side + min(move, 0)), slice(max(-move, 0), side - max(move, 0))


def _from(
    back: NDArray[Any], start: NDArray[Any], across: NDArray[Any], down: NDArray[Any], side: int
) -> NDArray[np.float32]:
    """The coordinate, in pixels along that side, that each pixel (rows, height, width) comes from."""
    scale, middle = side / 2, (side - 1) / 2
    by_column = (scale * back[:, :1] * across).astype(np.float32)[:, None, :]
    by_row = (scale * (back[:, 1:] * down + start[:, None]) + middle).astype(np.float32)[:, :, None]
    coordinate: NDArray[np.float32] = by_column + by_row
    return coordinate.clip(0, side - 1, out=coordinate)


def _bilinear(
    pictures: NDArray[Any], column: NDArray[np.float32], row: NDArray[np.float32], width: int
) -> NDArray[Any]:
    """`pictures` (rows, pixels, channels) at (row, column), each (rows, height, width)."""
    rows, pixels, channels = pictures.shape
    whole_column, whole_row = column.astype(np.int32), row.astype(np.int32)
    column -= whole_column
    row -= whole_row
    at = whole_row * width + whole_column + (np.arange(rows, dtype=np.int32) * pixels)[:, None, None]
    right, below = column.reshape(rows, pixels, 1), row.reshape(rows, pixels, 1)
    flat, at = pictures.reshape(rows * pixels, channels), at.reshape(rows, pixels)

    def pixel(offset: int) -> NDArray[np.float32]:  # past an edge its share is zero: any other will do
        found: NDArray[Any] = flat.take(at + offset, axis=0, mode="clip")
        return found.astype(np.float32)

    upper = _between(pixel(0), pixel(1), right)
    lower = _between(pixel(width), pixel(width + 1), right)
    return _as(_between(upper, lower, below), pictures.dtype)


def _between(one: NDArray[np.float32], other: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    other -= one
    other *= share
    other += one
    return other


def _as(numbers: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Rounded where `dtype` is whole; there are no negative ones."""
    if np.issubdtype(dtype, np.integer):
        numbers += 0.5
    return numbers.astype(dtype)
