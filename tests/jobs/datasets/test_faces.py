"""Faces that are drawn: their truth, the noise that was added to it, and the files they are written to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs.datasets import face_drawing, faces, fer, key_points, source
from jobs.errors import JobError


@pytest.fixture(scope="module")
def key_point_faces() -> faces.Drawn:
    return faces.make("key-points", 1000, 0)


@pytest.fixture(scope="module")
def expression_faces() -> faces.Drawn:
    return faces.make("expressions", 1000, 0)


def still(count: int = 1, **changes: float) -> face_drawing.Faces:
    """Faces without pose, light or chance."""
    plain = {
        "eye_x": 18,
        "eye_y": -9,
        "eye_width": 7,
        "eye_open": 4,
        "brow_rise": 10,
        "brow_tilt": 0,
        "nose_y": 12,
        "mouth_y": 28,
        "mouth_width": 14,
        "mouth_open": 2,
        "smile": 0,
        "scale": 1,
        "angle": 0,
        "shift_x": 0,
        "shift_y": 0,
        "skin": 0.7,
        "hair": 0.3,
        "background": 0.5,
        "light": 0,
    }
    return face_drawing.Faces(**{name: np.full(count, float(value)) for name, value in (plain | changes).items()})


def picture(drawn: face_drawing.Faces, side: int = 96) -> np.ndarray:
    return face_drawing.draw(drawn, side, lambda rows: np.zeros((rows, side, side), np.float32))[0].reshape(side, side)


def test_the_same_seed_draws_the_same_faces_and_another_others():
    first, again, other = (faces.make("key-points", 150, seed) for seed in (0, 0, 1))
    assert np.array_equal(again.pictures, first.pictures)
    assert np.array_equal(again.labels, first.labels, equal_nan=True)
    assert not np.array_equal(other.pictures, first.pictures)


def test_whoever_knows_where_the_points_are_reaches_the_floor_and_no_less(key_point_faces: faces.Drawn):
    error = key_point_faces.labels - key_point_faces.truth
    assert np.sqrt(np.nanmean(error**2)) == pytest.approx(faces.KEY_POINTS_FLOOR, rel=0.03)
    assert abs(np.nanmean(error)) < 0.05
    by_chance = key_point_faces.truth - key_point_faces.truth.mean(axis=0)
    assert np.sqrt((by_chance**2).mean()) > 1.2 * faces.KEY_POINTS_FLOOR


def test_whoever_tells_all_expressions_apart_reaches_the_floor_and_no_less(expression_faces: faces.Drawn):
    wrong = expression_faces.labels != expression_faces.truth
    for first in range(0, 1000, 100):
        assert wrong[first : first + 100].mean() == faces.EXPRESSIONS_FLOOR
    assert np.bincount(expression_faces.truth.astype(int)).min() >= 1000 // 7
    assert set(np.unique(expression_faces.labels)) == set(range(7))


def test_the_floor_is_that_of_the_rows_held_out_of_the_sets_that_need_no_file():
    read = source.load(source.locate("faces-expressions", {}))
    truth = faces.make("expressions", 5000, faces.SEED).truth
    assert (read.test_y != truth[4000:]).mean() == faces.EXPRESSIONS_FLOOR
    assert (len(read.train_x), read.classes, read.image_shape) == (4000, 7, (48, 48, 1))


def test_points_are_missing_as_often_as_in_kaggles_file():
    missing = faces.missing(7049, np.random.default_rng(0))
    counts = (~missing).sum(axis=0)
    assert np.array_equal(counts[::2], counts[1::2])
    for count, expected in zip(counts[::2], faces.MARKED_COUNTS, strict=True):
        assert count == pytest.approx(expected, rel=0.06)
    assert (~missing).all(axis=1).sum() == pytest.approx(2140, rel=0.06)


def test_all_points_are_inside_the_picture(key_point_faces: faces.Drawn):
    assert key_point_faces.truth.min() > 1
    assert key_point_faces.truth.max() < 95


@pytest.mark.parametrize("side", [96, 48])
@pytest.mark.parametrize("pose", [{}, {"shift_x": 4, "shift_y": -3, "angle": 0.15, "scale": 0.85}])
@pytest.mark.parametrize("point", ["nose_tip", "left_eye_center", "right_eye_center"])
def test_a_feature_is_drawn_where_its_point_is(side: int, pose: dict, point: str):
    grey = picture(still(**pose), side)
    place = key_points.POINTS.index(point)
    x, y = face_drawing.key_points(still(**pose))[0, 2 * place : 2 * place + 2]
    step = 96 / side
    rows, columns = (np.mgrid[:side, :side] + 0.5) * step - 0.5
    near = (rows - y) ** 2 + (columns - x) ** 2 < 4.5**2
    dark = np.where(near, np.clip(130.0 - grey, 0, None), 0)
    found = (dark * columns).sum() / dark.sum(), (dark * rows).sum() / dark.sum()
    assert np.hypot(found[0] - x, found[1] - y) < 0.8


@pytest.mark.parametrize(
    ("point", "opened"),
    [("mouth_center_top_lip", -1), ("mouth_center_bottom_lip", 1)],
)
def test_lips_end_where_their_points_are(point: str, opened: int):
    face = still(mouth_open=8)
    x, y = face_drawing.key_points(face)[0, 2 * key_points.POINTS.index(point) :][:2]
    column = picture(face)[:, round(x)].astype(float)
    beyond, within = column[round(y) + 2 * opened], column[round(y) - 2 * opened]
    assert beyond == pytest.approx(0.7 * 255, abs=2)
    assert within < 0.5 * beyond


@pytest.mark.parametrize("corner", ["mouth_left_corner", "mouth_right_corner"])
def test_the_mouth_ends_at_its_corners(corner: str):
    face = still(smile=5, mouth_open=6)
    x, y = face_drawing.key_points(face)[0, 2 * key_points.POINTS.index(corner) :][:2]
    outward = 1 if "left" in corner else -1
    row = picture(face)[round(y)].astype(float)
    assert row[round(x) + 2 * outward] == pytest.approx(0.7 * 255, abs=2)
    assert row[round(x) - 3 * outward] < 0.6 * 255


def test_left_is_the_persons_left():
    points = dict(zip(key_points.COLUMNS, face_drawing.key_points(still())[0], strict=True))
    assert points["left_eye_center_x"] > points["left_eye_inner_corner_x"] > points["right_eye_inner_corner_x"]
    assert points["left_eyebrow_outer_end_x"] > points["left_eyebrow_inner_end_x"] > points["nose_tip_x"]
    assert points["mouth_center_top_lip_y"] < points["mouth_center_bottom_lip_y"]


def test_expressions_can_be_told_apart_by_a_straight_line():
    drawn = faces.make("expressions", 2500, 3)
    x = drawn.pictures / 255.0
    x = np.column_stack([x - x.mean(axis=1, keepdims=True), np.ones(len(x))]).astype(np.float32)
    answers = np.eye(7)[drawn.truth.astype(int)]
    weights = np.linalg.solve(x[:2000].T @ x[:2000] + 10 * np.eye(x.shape[1]), x[:2000].T @ answers[:2000])
    assert ((x[2000:] @ weights).argmax(axis=1) != drawn.truth[2000:]).mean() < 0.08


def test_key_points_are_written_as_kaggles_file(tmp_path: Path):
    faces.write_csv("key-points", 60, 5, tmp_path / "training.csv")
    drawn = faces.make("key-points", 60, 5)
    header = (tmp_path / "training.csv").read_text(encoding="utf-8").partition("\n")[0]
    assert header == ",".join([*key_points.COLUMNS, "Image"])
    read = key_points.read(tmp_path / "training.csv")
    held_out = np.arange(60) % 5 == 4
    assert read.targets == key_points.COLUMNS
    assert np.array_equal(read.train_x, drawn.pictures[~held_out])
    assert np.allclose(key_points.to_pixels(read.test_y), drawn.labels[held_out], atol=1e-4, equal_nan=True)
    assert np.isnan(read.train_y).any()


def test_expressions_are_written_as_fer2013(tmp_path: Path):
    faces.write_csv("expressions", 200, 5, tmp_path / "fer2013.csv")
    drawn = faces.make("expressions", 200, 5)
    read = source.load(source.locate(tmp_path, {}))
    assert read.valid_x is not None
    assert read.valid_y is not None
    assert (len(read.train_x), len(read.valid_x), len(read.test_x)) == (160, 20, 20)
    assert np.array_equal(np.concatenate([read.train_x, read.valid_x, read.test_x]), drawn.pictures)
    assert np.array_equal(np.concatenate([read.train_y, read.valid_y, read.test_y]), drawn.labels)
    assert fer.COLUMNS == ("emotion", "pixels", "Usage")


@pytest.mark.parametrize(
    ("kind", "rows", "seed", "expected"),
    [
        ("smiles", 10, 0, "unknown kind of faces 'smiles': expected key-points or expressions"),
        ("expressions", 0, 0, "0 rows of seed 0: expected at least 1 row"),
        ("expressions", 10, -1, "10 rows of seed -1"),
    ],
)
def test_faces_that_cannot_be_are_refused(tmp_path: Path, kind: str, rows: int, seed: int, expected: str):
    with pytest.raises(JobError, match=expected):
        faces.write_csv(kind, rows, seed, tmp_path / "faces.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(JobError, match=r"cannot write .*faces\.csv"):
        faces.write_csv("expressions", 7, 0, tmp_path / "gone" / "faces.csv")
