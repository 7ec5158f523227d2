"""Faces that are drawn, not downloaded: key points and expressions with known truth and a known least error.

Two sets in the formats of the real ones: key points as Kaggle's training.csv (96x96, fifteen points, missing where the
real file lacks them), expressions as fer2013.csv (48x48, seven classes). What was drawn is known, so the labels can be
given a known noise, and with it comes a floor that no reader can beat, however good it is:

- key points: each coordinate is off by a Gaussian of `LABEL_SIGMA` = 2 pixels. Whoever reads the truth from the
  picture has a root mean square error of 2 pixels on held-out rows (`KEY_POINTS_FLOOR`).
- expressions: of every hundred labels `FLIPPED` = 10 % are another class's, drawn evenly. Whoever tells all
  expressions apart has an error of 10 % on held-out rows (`EXPRESSIONS_FLOOR`); by chance it is 86 %.

The drawing adds nothing to speak of to either: edges are smooth, pixel noise is small, and no two expressions overlap
(`EXPRESSIONS` below; how strongly one is shown varies by a fifth). A network whose own error is e pixels shows
sqrt(2^2 + e^2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from jobs.datasets import fer, key_points, pixels
from jobs.datasets.dataset import Dataset
from jobs.datasets.face_drawing import Faces, Floats, draw
from jobs.datasets.face_drawing import key_points as places_of
from jobs.errors import JobError
from jobs.files import write_atomically

KINDS = ("key-points", "expressions")
TRAIN_ROWS, TEST_ROWS, SEED = 4000, 1000, 2013
"""Of the sets that need no file."""

LABEL_SIGMA = 2.0
KEY_POINTS_FLOOR = LABEL_SIGMA  # pixels, root mean square
FLIPPED = 0.1
EXPRESSIONS_FLOOR = FLIPPED  # share of wrong answers
PIXEL_SIGMA = 0.03  # of the brightness 0..1

REGISTERED = 0.7
"""How freely the faces of expressions are posed, next to those of key points: FER2013's are registered."""

EXPRESSIONS: Mapping[str, tuple[float, float, float, float, float, float]] = MappingProxyType(
    {
        # what is added to brow_rise, brow_tilt, eye_open, smile, mouth_open, mouth_width; pixels
        "angry": (-3.0, -7.0, -0.5, -2.0, 1.0, -3.0),
        "disgust": (-2.0, -1.0, -2.0, -6.5, 5.0, 0.0),
        "fear": (3.0, 7.0, 1.5, -1.0, 7.0, 2.0),
        "happy": (0.5, 0.0, -0.5, 7.0, 6.0, 3.0),
        "sad": (0.0, 7.0, -1.5, -6.0, -1.0, -2.0),
        "surprise": (5.0, 0.0, 2.5, 0.0, 13.0, -5.0),
        "neutral": (0.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    }
)

MARKED = 2275 / 7049
"""Rows of Kaggle's training.csv in which all points were to be marked; the others have four."""
MARKED_COUNTS = (7039, 7036, 2271, 2267, 2268, 2268, 2270, 2225, 2270, 2236, 7049, 2269, 2270, 2275, 7016)
"""Rows of its 7,049 that have each of `key_points.POINTS`; 2,140 rows have all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Pictures, what they show, and what their labels say."""

    pictures: NDArray[np.uint8]  # (rows, 9216) of key points, (rows, 2304) of expressions
    truth: NDArray[np.float64]  # (rows, 30) in pixels, or (rows,) classes
    labels: NDArray[np.float64]  # the same with noise; NaN where a point is missing


def read_key_points() -> Dataset:
    """5,000 faces and their key points, every fifth row held out."""
    drawn = make("key-points", TRAIN_ROWS + TEST_ROWS, SEED)
    return key_points.dataset("key points of drawn faces", drawn.pictures, drawn.labels, key_points.COLUMNS)


def read_expressions() -> Dataset:
    """5,000 faces and their expressions, the last 1,000 held out."""
    drawn = make("expressions", TRAIN_ROWS + TEST_ROWS, SEED)
    labels = drawn.labels.astype(np.int64)
    return Dataset(
        name="expressions of drawn faces",
        train_x=drawn.pictures[:TRAIN_ROWS],
        train_y=labels[:TRAIN_ROWS],
        test_x=drawn.pictures[TRAIN_ROWS:],
        test_y=labels[TRAIN_ROWS:],
        scale=1 / pixels.BRIGHTEST,
        classes=len(fer.EXPRESSIONS),
        image_shape=(fer.SIDE, fer.SIDE, 1),
    )


def make(kind: str, rows: int, seed: int) -> Drawn:
    """That many faces of a kind of `KINDS`, the same for the same seed; raises `JobError` for what cannot be."""
    if kind not in KINDS:
        raise JobError(f"unknown kind of faces {kind!r}: expected {' or '.join(KINDS)}")
    if rows < 1 or seed < 0:
        raise JobError(f"{rows} rows of seed {seed}: expected at least 1 row, and a seed of at least 0")
    shapes, labels, noise = (np.random.default_rng([seed, KINDS.index(kind), stream]) for stream in range(3))
    # Each class as often as any other in every stretch of seven rows, whatever is held out.
    classes = shapes.permuted(np.tile(np.arange(len(EXPRESSIONS)), (-(-rows // 7), 1)), axis=1).ravel()[:rows]
    faces = random_faces(classes, shapes, freedom=1.0 if kind == "key-points" else REGISTERED)
    if kind == "key-points":
        truth = places_of(faces)
        marked = np.where(missing(rows, labels), np.nan, truth + labels.normal(0, LABEL_SIGMA, truth.shape))
        return Drawn(pictures=draw(faces, key_points.SIDE, _grain(noise, key_points.SIDE)), truth=truth, labels=marked)
    return Drawn(
        pictures=draw(faces, fer.SIDE, _grain(noise, fer.SIDE)),
        truth=classes.astype(np.float64),
        labels=flip(classes, labels).astype(np.float64),
    )


def random_faces(classes: NDArray[np.int64], random: np.random.Generator, freedom: float) -> Faces:
    """A face for each of `classes` (rows,), in shapes, lights and poses of their own; `freedom` scales the poses."""
    rows = len(classes)
    shown = np.array([EXPRESSIONS[name] for name in fer.EXPRESSIONS])[classes] * random.uniform(0.8, 1.2, (rows, 1))
    rise, tilt, eye, smile, mouth, width = shown.T

    def around(middle: float, spread: float) -> NDArray[np.float64]:
        return random.uniform(middle - spread, middle + spread, rows)

    return Faces(
        eye_x=around(18, 1.2),
        eye_y=around(-9, 1),
        eye_width=around(7.5, 0.6),
        eye_open=around(4, 0.3) + eye,
        brow_rise=around(10, 0.7) + rise,
        brow_tilt=around(0, 0.7) + tilt,
        nose_y=around(12, 1.5),
        mouth_y=around(28, 1.2),
        mouth_width=around(14, 1) + width,
        mouth_open=around(2, 0.6) + mouth,
        smile=around(0, 0.7) + smile,
        scale=around(0.93, 0.07 * freedom),
        angle=around(0, np.radians(7) * freedom),
        shift_x=around(0, 3 * freedom),
        shift_y=around(0, 3 * freedom),
        skin=around(0.7, 0.1),
        hair=around(0.3, 0.1),
        background=around(0.5, 0.3),
        light=around(0, 0.4),
    )


def missing(rows: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Which targets (rows, 30) are missing, point by point as often as in Kaggle's training.csv."""
    counts = np.array(MARKED_COUNTS) / MARKED_COUNTS[key_points.POINTS.index("nose_tip")]
    always = counts > 0.5  # the four points that the other rows have
    marked = random.random((rows, 1)) < MARKED
    kept = random.random((rows, len(counts))) < np.where(always, counts, counts / MARKED)
    return np.repeat(~(kept & (marked | always)), 2, axis=1)


def flip(classes: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """`classes` (rows,) with `FLIPPED` of every hundred turned into another class, drawn evenly."""
    flipped = classes.copy()
    for first in range(0, len(classes), 100):
        some = np.arange(first, min(first + 100, len(classes)))
        chosen = random.permutation(some)[: round(FLIPPED * len(some))]
        flipped[chosen] += random.integers(1, len(EXPRESSIONS), len(chosen))
    return flipped % len(EXPRESSIONS)


def _grain(random: np.random.Generator, side: int) -> Callable[[int], Floats]:
    return lambda rows: random.standard_normal((rows, side, side), np.float32) * np.float32(PIXEL_SIGMA)


def write_csv(kind: str, rows: int, seed: int, path: Path) -> None:
    """Write that many faces as Kaggle's training.csv (`key-points`) or as fer2013.csv (`expressions`), atomically.

    Raises `JobError` for what cannot be, and where the file cannot be written.
    """
    drawn = make(kind, rows, seed)
    lines = key_point_lines(drawn) if kind == "key-points" else expression_lines(drawn)

    def write(file: BinaryIO) -> None:
        file.writelines(lines)

    write_atomically(path, write)


def key_point_lines(drawn: Drawn) -> Sequence[bytes]:
    """The lines of a training.csv."""
    header = ",".join([*key_points.COLUMNS, key_points.IMAGE]).encode() + b"\n"
    cells = (["" if value != value else f"{value:.6f}" for value in row] for row in drawn.labels.tolist())  # noqa: PLR0124  # NaN
    rows = zip(cells, _as_text(drawn.pictures), strict=True)
    return [header, *(",".join(row).encode() + b"," + picture + b"\n" for row, picture in rows)]


def expression_lines(drawn: Drawn) -> Sequence[bytes]:
    """The lines of a fer2013.csv: eight of ten rows to train with, one to choose with, one to be judged by."""
    usages = [fer.TRAIN] * 8 + [fer.VALID, fer.TEST]
    rows = zip(drawn.labels.astype(int).tolist(), _as_text(drawn.pictures), strict=True)
    lines = (
        b"%d," % label + picture + f",{usages[number * 10 // len(drawn.labels)]}\n".encode()
        for number, (label, picture) in enumerate(rows)
    )
    return [",".join(fer.COLUMNS).encode() + b"\n", *lines]


def _as_text(pictures: NDArray[np.uint8]) -> Sequence[bytes]:
    """Each picture's numbers with spaces between them."""
    words = np.array([f"{value} ".encode() for value in range(256)])  # of four bytes, the short ones padded with zeros
    return [words[picture].tobytes().translate(None, b"\0")[:-1] for picture in pictures]
