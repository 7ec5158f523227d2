"""One random affine map for each row, for its picture and its key points alike.

Coordinates are in units of half a side, from the picture's middle: -1 is the left and upper edge, 1 the right and
lower. Pixel i of n, counted from 0, has its middle at (i + 0.5) / n of the side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """How far a picture may be moved; by default, not at all."""

    degrees: float = 0.0
    """Rotation, uniform within +- that."""
    shift_pixels: float = 0.0
    """Across and down, each uniform within +- that; fractions of a pixel too."""
    scale: float = 1.0
    """Larger or smaller by up to that factor, log-uniform."""
    stretch: float = 1.0
    """Wider by up to that factor and lower by the same, or the other way round, log-uniform."""
    shear_degrees: float = 0.0
    """Upright lines lean by up to that, uniform."""
    flip: bool = False
    """Left and right exchanged, in half of the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """`matrix @ (x, y) + offset` is where a point of the picture as it was goes to."""

    matrix: FloatArray  # (rows, 2, 2)
    offset: FloatArray  # (rows, 2)
    flipped: NDArray[np.bool_]  # (rows,), which of them mirror


def draw(ranges: Ranges, rows: int, height: int, width: int, random: np.random.Generator) -> Maps:
    """A map for each row; mirrored first, then stretched, sheared, scaled, turned and shifted.

    Everything is drawn, used or not: a range of zero leaves the other draws as they are.
    """
    turn, lean, size, wide, *shift = random.uniform(-1.0, 1.0, (6, rows))
    flipped = (random.random(rows) < 0.5) & ranges.flip
    angle = np.radians(ranges.degrees) * turn
    scale, stretch = ranges.scale**size, ranges.stretch**wide
    across, down = scale * stretch * np.where(flipped, -1.0, 1.0), scale / stretch
    shear = np.tan(np.radians(ranges.shear_degrees) * lean)

    resized = _matrices(across, shear * down, np.zeros(rows), down)
    turned = _matrices(np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)) @ resized
    in_half_sides = np.array([[1.0, height / width], [width / height, 1.0]])  # angles are angles in pixels alone
    offset = ranges.shift_pixels * np.stack(shift, axis=1) * 2 / np.array([width, height])
    return Maps(matrix=turned * in_half_sides, offset=offset, flipped=flipped)


def _matrices(xx: FloatArray, xy: FloatArray, yx: FloatArray, yy: FloatArray) -> FloatArray:
    """(rows,) each, to (rows, 2, 2)."""
    return np.stack([np.stack([xx, xy], axis=1), np.stack([yx, yy], axis=1)], axis=1)
