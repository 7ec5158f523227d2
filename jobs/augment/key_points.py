"""Key points that move with their picture (deck 2).

Targets (rows, targets) are named as in Kaggle's facial key points, `left_eye_center_x`, `left_eye_center_y`, ..; they
are (v - 48) / 48, v in pixels of a picture of 96, 0 the middle of the first pixel. NaN is a point that nobody marked,
and stays NaN. A point that leaves its picture is kept: the net may learn where it would be.

So 0 is half a pixel beyond the picture's middle, and in the mirror of 96 pixels v becomes 95 - v. The deck changes the
sign of x, which makes it 96 - v: half of its rows teach a place that is a pixel off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.augment.geometry import Maps
from jobs.errors import JobError

OTHER_SIDE = {"left": "right", "right": "left"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What each target is."""

    x: NDArray[np.int64]  # (points,) the columns of the points' x
    y: NDArray[np.int64]  # (points,) of their y
    mirrored: NDArray[np.int64]  # (targets,) the column that each comes from in a mirror: left from right


def columns(targets: tuple[str, ...]) -> Columns:
    """Read the names of the targets; raises `JobError` where they are no points, or one lacks its other half."""
    number = {name: column for column, name in enumerate(targets)}
    for name in targets:
        stem, axis = name[:-2], name[-2:]
        if axis not in {"_x", "_y"}:
            raise JobError(f"the target {name!r} is no key point: expected names that end in _x or _y")
        for other in (stem + {"_x": "_y", "_y": "_x"}[axis], in_mirror(name)):
            if other not in number:
                raise JobError(f"the target {name!r} comes without {other!r}: it cannot be turned or mirrored")
    stems = [name[:-2] for name in targets if name.endswith("_x")]
    return Columns(
        x=np.array([number[f"{stem}_x"] for stem in stems], np.int64),
        y=np.array([number[f"{stem}_y"] for stem in stems], np.int64),
        mirrored=np.array([number[in_mirror(name)] for name in targets], np.int64),
    )


def in_mirror(name: str) -> str:
    """The same with left for right and right for left, as in `mouth_left_corner_x`; `nose_tip_x` is itself."""
    return "_".join(OTHER_SIDE.get(word, word) for word in name.split("_"))


def moved(y: NDArray[Any], targets: tuple[str, ...], maps: Maps, image_sides: tuple[int, int]) -> NDArray[Any]:
    """The key points `y` (rows, targets) through their pictures' maps; in a mirror a left eye is a right one.

    `image_sides` is (height, width) in pixels.
    """
    named = columns(targets)
    height, width = image_sides
    half_pixel = np.array([[1 / width], [1 / height]])  # in half sides
    points = np.stack([y[:, named.x], y[:, named.y]], axis=1) + half_pixel  # (rows, 2, points), from the middle
    points = maps.matrix @ points + maps.offset[:, :, None] - half_pixel
    after = np.empty_like(y)
    after[:, named.x], after[:, named.y] = points[:, 0], points[:, 1]
    return np.where(maps.flipped[:, None], after[:, named.mirrored], after)
