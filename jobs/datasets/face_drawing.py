"""Draws grey cartoon faces, many at a time, and knows where their key points are.

Places are in pixels of a 96x96 picture, x to the right and y down, the middle of the first pixel at 0. A face has a
frame of its own, its origin between eyes and nose; a pose (scale, angle, shift) brings it into the picture. Left and
right are those of the person: the left eye is on the right side of the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from jobs.datasets.key_points import POINTS, SIDE

Floats = NDArray[np.float32]
BATCH = 128  # faces drawn at once: their canvas stays in the processor's cache
MARGIN = 20  # pixels of canvas around the picture, so that no feature hangs over an edge


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """The shape, pose and light of some faces; every field is (faces,), lengths in pixels."""

    eye_x: NDArray[np.float64]  # from the middle to an eye's centre
    eye_y: NDArray[np.float64]
    eye_width: NDArray[np.float64]  # half of it: from the centre to a corner
    eye_open: NDArray[np.float64]  # half the height
    brow_rise: NDArray[np.float64]  # from eye to brow
    brow_tilt: NDArray[np.float64]  # how much higher the inner end is than the outer one
    nose_y: NDArray[np.float64]
    mouth_y: NDArray[np.float64]
    mouth_width: NDArray[np.float64]  # half of it
    mouth_open: NDArray[np.float64]  # between the lips
    smile: NDArray[np.float64]  # how much higher the corners are than the middle; negative: they hang
    scale: NDArray[np.float64]
    angle: NDArray[np.float64]  # radians, clockwise
    shift_x: NDArray[np.float64]
    shift_y: NDArray[np.float64]
    skin: NDArray[np.float64]  # brightness in 0..1, as the next two
    hair: NDArray[np.float64]
    background: NDArray[np.float64]
    light: NDArray[np.float64]  # how much brighter the right edge of the picture is than the left

    def __len__(self) -> int:
        return len(self.scale)

    def slice(self, rows: slice) -> Self:
        """Some of the faces."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def to_picture(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Places in the picture of places (.., faces) in the faces' frames."""
        cos, sin = self.scale * np.cos(self.angle), self.scale * np.sin(self.angle)
        middle = (SIDE - 1) / 2
        return middle + self.shift_x + cos * x - sin * y, middle + self.shift_y + sin * x + cos * y


LIP = 2.6  # pixels, the thickness of a lip
BROW_LENGTH = 0.85  # of a brow from its middle to an end, in eye widths more than the eye's
BROW_ARCH = 1.6


def places(faces: Faces) -> dict[str, tuple[Any, Any]]:
    """(x, y), each (faces,), of the fifteen key points in the faces' frames."""
    found: dict[str, tuple[Any, Any]] = {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        brow_y = faces.eye_y - faces.brow_rise
        brow_half = faces.eye_width * (1 + BROW_LENGTH / 2)
        found[f"{side}_eye_center"] = sign * faces.eye_x, faces.eye_y
        found[f"{side}_eye_inner_corner"] = sign * (faces.eye_x - faces.eye_width), faces.eye_y
        found[f"{side}_eye_outer_corner"] = sign * (faces.eye_x + faces.eye_width), faces.eye_y
        found[f"{side}_eyebrow_inner_end"] = sign * (faces.eye_x - brow_half), brow_y - faces.brow_tilt / 2
        found[f"{side}_eyebrow_outer_end"] = sign * (faces.eye_x + brow_half), brow_y + faces.brow_tilt / 2
        found[f"mouth_{side}_corner"] = sign * faces.mouth_width, faces.mouth_y - faces.smile
    found["nose_tip"] = np.zeros(len(faces)), faces.nose_y
    found["mouth_center_top_lip"] = np.zeros(len(faces)), faces.mouth_y - faces.mouth_open / 2 - LIP
    found["mouth_center_bottom_lip"] = np.zeros(len(faces)), faces.mouth_y + faces.mouth_open / 2 + LIP
    return found


def key_points(faces: Faces) -> NDArray[np.float64]:
    """Where the fifteen key points are in the pictures: (faces, 30), x and y in turn, in pixels."""
    found = places(faces)
    both = [value for point in POINTS for value in faces.to_picture(*found[point])]
    return np.stack(both, axis=1)


def draw(faces: Faces, side: int, noise: Callable[[int], Floats]) -> NDArray[np.uint8]:
    """The pictures (faces, side * side); `noise(rows)` answers what is added, (rows, side, side) in 0..1 brightness."""
    pictures = np.empty((len(faces), side * side), np.uint8)
    for first in range(0, len(faces), BATCH):
        some = faces.slice(slice(first, first + BATCH))
        grey = _draw(some, side) + noise(len(some))
        np.clip(np.rint(grey * 255, out=grey), 0, 255, out=grey)
        pictures[first : first + len(some)] = grey.reshape(len(some), -1)
    return pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class _Canvas:
    """What is being drawn on: pixels with a margin, each `step` wide."""

    faces: Faces
    grey: Floats  # (faces, side + 2 margins, the same), brightness
    step: float
    margin: int  # in its own pixels

    def paint(self, x: Any, y: Any, reach: float, cover: Callable[[Floats, Floats], tuple[Floats, Any]]) -> None:
        """Lay colours over the square that reaches `reach` pixels from the place (x, y) of the faces' frames.

        `cover(u, v)` answers, for pixels (faces, size, size) at u, v from that place in the frame, how much of each
        is covered, 0..1, and with what brightness.
        """
        centre_x, centre_y = self.faces.to_picture(x, y)
        size = round(2 * reach / self.step)
        left, top = (self._nearest(centre) - size // 2 for centre in (centre_x, centre_y))
        ahead = np.arange(size)
        columns, rows = left[:, None] + ahead, top[:, None] + ahead
        u, v = self.frame(self.place(columns) - centre_x[:, None], self.place(rows) - centre_y[:, None])
        amount, colour = cover(u, v)
        spots = np.arange(len(left))[:, None, None], rows[:, :, None], columns[:, None, :]
        under = self.grey[spots]
        self.grey[spots] = under + amount * (colour - under)

    def place(self, index: Any) -> Any:
        """Where in the picture the middle of the canvas's pixel `index` is."""
        return (index - self.margin + 0.5) * self.step - 0.5

    def _nearest(self, place: Any) -> NDArray[np.int64]:
        return np.asarray(np.rint((place + 0.5) / self.step - 0.5 + self.margin), np.int64)

    def frame(self, right: Any, down: Any) -> tuple[Floats, Floats]:
        """Differences (faces, columns) and (faces, rows) in the picture, as (faces, rows, columns) in the frames."""
        cos, sin = (f(self.faces.angle)[:, None] / self.faces.scale[:, None] for f in (np.cos, np.sin))
        across = [part.astype(np.float32)[:, None, :] for part in (cos * right, -sin * right)]
        along = [part.astype(np.float32)[:, :, None] for part in (sin * down, cos * down)]
        return across[0] + along[0], across[1] + along[1]


def _draw(faces: Faces, side: int) -> Floats:
    step, count = SIDE / side, len(faces)
    margin = round(MARGIN / step)
    whole = side + 2 * margin
    canvas = _Canvas(faces=faces, grey=np.empty((count, whole, whole), np.float32), step=step, margin=margin)
    inside = slice(margin, margin + side)
    _head(canvas, np.arange(margin, margin + side))
    for sign in (1.0, -1.0):
        _brow(canvas, sign)
        _eye(canvas, sign)
    _nose(canvas)
    _mouth(canvas)
    grey = canvas.grey[:, inside, inside]
    across = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    return grey * (1 + _column(faces.light) * across)


def _head(canvas: _Canvas, inner: NDArray[np.int64]) -> None:
    """Background, hair and the head, over the whole picture."""
    faces = canvas.faces
    middle = canvas.place(inner)[None, :] - (SIDE - 1) / 2
    u, v = canvas.frame(middle - faces.shift_x[:, None], middle - faces.shift_y[:, None])
    canvas.grey[:] = _column(faces.background)
    inside = np.s_[:, inner[0] : inner[-1] + 1, inner[0] : inner[-1] + 1]
    grey = canvas.grey[inside]
    for height, width, down, colour in ((46, 41, -6, faces.hair), (44, 36, 4, faces.skin)):
        grey += _ellipse(u, v - np.float32(down), width, height) * (_column(colour) - grey)


def _eye(canvas: _Canvas, sign: float) -> None:
    faces = canvas.faces
    width, opened = _column(faces.eye_width), _column(faces.eye_open)

    def cover(u: Floats, v: Floats) -> tuple[Floats, Any]:
        apart = np.abs(v) - opened * (1 - np.square(u / width))  # two arcs that meet in the corners
        inside = _soft(np.float32(0.5) - apart) * _soft(width + np.float32(0.5) - np.abs(u))
        iris = _soft(np.float32(3.4) - np.sqrt(np.square(u) + np.square(v)))
        rim = _soft(np.float32(1) - np.abs(apart)) * np.float32(0.8)
        return inside, np.float32(0.95) - iris * np.float32(0.85) - rim * (1 - iris)

    canvas.paint(sign * faces.eye_x, faces.eye_y, 14, cover)


def _brow(canvas: _Canvas, sign: float) -> None:
    faces = canvas.faces
    half = _column(faces.eye_width * (1 + BROW_LENGTH / 2))
    slope = _column(sign * faces.brow_tilt / 2) / half

    def cover(u: Floats, v: Floats) -> tuple[Floats, Any]:
        line = slope * u - np.float32(BROW_ARCH) * (1 - np.square(u / half))
        amount = _soft(np.float32(2.3) - np.abs(v - line)) * _soft(half + np.float32(0.5) - np.abs(u))
        return amount, np.float32(0.12)

    canvas.paint(sign * faces.eye_x, faces.eye_y - faces.brow_rise, 18, cover)


def _nose(canvas: _Canvas) -> None:
    faces = canvas.faces

    def cover(u: Floats, v: Floats) -> tuple[Floats, Any]:
        ridge = _soft(np.float32(1.2) - np.abs(u)) * _soft(-v) * _soft(v + np.float32(11)) * np.float32(0.35)
        tip = _soft(np.float32(2.4) - np.sqrt(np.square(u) + np.square(v)))
        return np.maximum(ridge, tip * np.float32(0.8)), np.float32(0.25)

    canvas.paint(0.0, faces.nose_y, 15, cover)


def _mouth(canvas: _Canvas) -> None:
    """Two arcs of lips that meet in the corners, and teeth between them where the mouth is open."""
    faces = canvas.faces
    width, corner, opened = _column(faces.mouth_width), _column(-faces.smile), _column(faces.mouth_open / 2)

    def cover(u: Floats, v: Floats) -> tuple[Floats, Any]:
        bow = np.clip(1 - np.square(u / width), 0, 1)
        apart = np.abs(v - corner * (1 - bow)) - opened * bow
        lips = _soft(np.float32(LIP) * np.sqrt(bow) - apart) * _soft(width + np.float32(0.5) - np.abs(u))
        return lips, np.float32(0.28) + np.float32(0.6) * _soft(-apart) * (opened > 0.5)

    canvas.paint(0.0, faces.mouth_y, 27, cover)


def _ellipse(u: Floats, v: Floats, width: float, height: float) -> Floats:
    """How much of each pixel an ellipse of those half axes covers."""
    apart = np.sqrt(np.square(u / np.float32(width)) + np.square(v / np.float32(height)))
    return _soft((1 - apart) * np.float32(min(width, height)))


def _soft(depth: Any) -> Floats:
    """What is covered of a pixel whose middle is `depth` pixels inside an edge: its half at the edge itself."""
    covered: Floats = np.clip(depth + np.float32(0.5), 0, 1)
    return covered


def _column(values: Any) -> Floats:
    return np.asarray(values, np.float32)[:, None, None]
