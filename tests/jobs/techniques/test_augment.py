"""Augmentation: pictures and key points move together, and the generator alone says how."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.augment import catalogue, geometry, images, key_points
from jobs.errors import JobError

SIDE = 96
POINTS = ("left_eye_center", "right_eye_center", "nose_tip")
TARGETS = tuple(f"{point}_{axis}" for point in POINTS for axis in "xy")
PLACES = np.array([[60.0, 40.0, 30.0, 42.0, 45.0, 60.0]])  # left and right are the person's
IN_PICTURES = [name for name in catalogue.NAMES if name != "none"]


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def to_targets(pixels: np.ndarray) -> np.ndarray:
    return ((pixels - 48) / 48).astype(np.float32)


def to_pixels(targets: np.ndarray) -> np.ndarray:
    return targets * 48.0 + 48


def face(point: int) -> np.ndarray:
    """(9216,) a soft spot where that point of `PLACES` is, on black."""
    x, y = PLACES[0, 2 * point : 2 * point + 2]
    down, right = np.mgrid[:SIDE, :SIDE]
    return np.rint(250 * np.exp(-((right - x) ** 2 + (down - y) ** 2) / 18)).astype(np.uint8).reshape(-1)


def spot(x: np.ndarray) -> np.ndarray:
    """(rows, 2) where in each picture the light is, x and y in pixels."""
    light = np.clip(x.reshape(-1, SIDE, SIDE).astype(float) - np.median(x, axis=1)[:, None, None] - 10, 0, None)
    down, right = np.mgrid[:SIDE, :SIDE]
    return np.stack([(light * axis).sum(axis=(1, 2)) / light.sum(axis=(1, 2)) for axis in (right, down)], axis=1)


@pytest.mark.parametrize("name", ["shift", "flip", "faces", "key-points"])
def test_a_key_point_is_where_the_picture_shows_it(name: str):
    rows = 200
    for point, stem in enumerate(POINTS):
        x, y = np.tile(face(point), (rows, 1)), np.tile(to_targets(PLACES), (rows, 1))
        new_x, new_y = catalogue.find(name)(x, y, (SIDE, SIDE, 1), TARGETS, random())
        told = to_pixels(new_y)
        mirrored = told[:, 0] < told[:, 2]  # the person's left eye is on the right of a picture, also in a mirror
        assert not mirrored.any()
        seen = spot(new_x)
        names = [stem, key_points.in_mirror(stem)]
        told_here = [told[:, [TARGETS.index(f"{name}_x"), TARGETS.index(f"{name}_y")]] for name in names]
        off = np.min([np.abs(seen - each).max(axis=1) for each in told_here], axis=0)
        assert off.max() < 0.15, stem
        if name != "shift" and names[0] != names[1]:  # both kinds of rows are there
            assert 0.3 < (np.abs(seen - told_here[0]).max(axis=1) < 0.15).mean() < 0.7
        assert np.ptp(seen[:, 0]) > 1


def test_the_whole_list_of_the_deck_moves_points_with_their_pictures():
    middle = np.array([[49.0, 45.0] * 3])  # a point that even 10 pixels and 1.6 times the size leave in the picture
    down, right = np.mgrid[:SIDE, :SIDE]
    picture = np.rint(250 * np.exp(-((right - 49) ** 2 + (down - 45) ** 2) / 18)).astype(np.uint8).reshape(1, -1)
    new_x, new_y = catalogue.affine(
        np.tile(picture, (300, 1)), np.tile(to_targets(middle), (300, 1)), (SIDE, SIDE), TARGETS, random()
    )
    assert np.abs(spot(new_x) - to_pixels(new_y)[:, :2]).max() < 0.2


def test_a_mirror_is_the_picture_read_backwards_and_twice_is_as_it_was():
    x = random().integers(0, 256, (50, 12), dtype=np.uint8)
    new_x, _ = catalogue.flip(x, np.zeros(50, np.int64), (3, 4), (), random())
    backwards = x.reshape(50, 3, 4)[:, :, ::-1].reshape(50, 12)
    which = (new_x == backwards).all(axis=1)
    assert np.array_equal(new_x[~which], x[~which])
    assert 10 < which.sum() < 40
    again, _ = catalogue.flip(new_x, np.zeros(50, np.int64), (3, 4), (), random())
    assert np.array_equal(again, x)
    y = np.tile(to_targets(PLACES), (50, 1))
    _, once = catalogue.flip(x, y, (3, 4), TARGETS, random())
    _, twice = catalogue.flip(x, once, (3, 4), TARGETS, random())
    assert np.abs(once - y).max() > 0.1
    assert np.abs(twice - y).max() < 1e-6


def test_shifts_are_nine_places_and_what_comes_in_is_black():
    x = np.arange(1, 13, dtype=np.uint8)[None].repeat(900, axis=0)
    new_x, y = catalogue.shift(x, np.arange(900), (3, 4, 1), (), random())
    assert np.array_equal(y, np.arange(900))
    expected = set()
    framed = np.pad(x[0].reshape(3, 4), 1)
    for down in range(3):
        for right in range(3):
            expected.add(tuple(framed[down : down + 3, right : right + 4].reshape(-1).tolist()))
    places, often = np.unique(new_x, axis=0, return_counts=True)
    assert {tuple(place) for place in places.tolist()} == expected
    assert often.min() > 60


@given(st.integers(-6, 6), st.integers(-6, 6), st.integers(1, 3))
def test_a_picture_can_be_shifted_right_out_of_sight(down: int, right: int, channels: int):
    x = np.arange(1, 1 + 12 * channels, dtype=np.float32)[None]
    new = images.shifted(x, (3, 4, channels), np.array([down]), np.array([right])).reshape(3, 4, channels)
    old = x.reshape(3, 4, channels)
    for row in range(3):
        for column in range(4):
            inside = 0 <= row - down < 3 and 0 <= column - right < 4
            assert np.array_equal(new[row, column], old[row - down, column - right] if inside else np.zeros(channels))


def naive_warp(picture: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """One (height, width) picture, pixel by pixel."""
    height, width = picture.shape
    new = np.empty((height, width))
    for row in range(height):
        for column in range(width):
            wanted = np.array([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1])
            x, y = np.linalg.solve(matrix, wanted - offset)
            x = min(max((x + 1) * width / 2 - 0.5, 0), width - 1)
            y = min(max((y + 1) * height / 2 - 0.5, 0), height - 1)
            left, up = int(x), int(y)
            right, low = min(left + 1, width - 1), min(up + 1, height - 1)
            upper = (1 - (x - left)) * picture[up, left] + (x - left) * picture[up, right]
            lower = (1 - (x - left)) * picture[low, left] + (x - left) * picture[low, right]
            new[row, column] = (1 - (y - up)) * upper + (y - up) * lower
    return new


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(7, 7), (5, 9), (1, 4)])
def test_warping_is_bilinear_and_edges_go_on(height: int, width: int, channels: int):
    x = random(1).integers(0, 256, (6, height * width * channels)).astype(np.float32)
    maps = geometry.draw(catalogue.DECK, 6, height, width, random(2))
    new = images.warped(x, (height, width, channels), maps).reshape(6, height, width, channels)
    for row in range(6):
        for channel in range(channels):
            picture = x.reshape(6, height, width, channels)[row, :, :, channel]
            expected = naive_warp(picture, maps.matrix[row], maps.offset[row])
            assert np.abs(new[row, :, :, channel] - expected).max() < 0.02
    rounded = images.warped(x.astype(np.uint8), (height, width, channels), maps)
    assert np.abs(rounded - images.warped(x, (height, width, channels), maps)).max() < 0.51


def test_more_rows_than_are_warped_at_once_are_all_warped():
    x = random().integers(0, 256, (50, 64), dtype=np.uint8)
    maps = geometry.draw(catalogue.FACES, 50, 8, 8, random(1))
    whole = images.warped(x, (8, 8), maps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "CHUNK_PIXELS", 8 * 8 * 7)
        assert np.array_equal(images.warped(x, (8, 8), maps), whole)


def test_no_motion_at_all_leaves_every_pixel():
    x = random().integers(0, 256, (5, 35), dtype=np.uint8)
    maps = geometry.draw(geometry.Ranges(), 5, 5, 7, random())
    assert np.array_equal(images.warped(x, (5, 7), maps), x)


def test_draws_stay_within_the_decks_ranges_and_reach_for_their_ends():
    maps = geometry.draw(catalogue.DECK, 20_000, SIDE, SIDE, random())
    assert np.abs(maps.offset).max() * 48 == pytest.approx(10, abs=0.05)
    area = np.sqrt(np.abs(np.linalg.det(maps.matrix)))  # neither turning, stretching nor shearing changes it
    assert (area.min(), area.max()) == pytest.approx((1 / 1.6, 1.6), rel=0.01)
    assert np.median(area) == pytest.approx(1, abs=0.02)  # log-uniform
    assert np.array_equal(np.linalg.det(maps.matrix) < 0, maps.flipped)
    assert maps.flipped.mean() == pytest.approx(0.5, abs=0.02)
    for ranges, largest in [
        (geometry.Ranges(stretch=1.3), 1.3**2),
        (geometry.Ranges(degrees=180), 1.0),
        (geometry.Ranges(degrees=10, shift_pixels=3), 1.0),
    ]:
        found = geometry.draw(ranges, 5000, SIDE, SIDE, random())
        assert np.linalg.cond(found.matrix).max() == pytest.approx(largest, rel=0.01)


@pytest.mark.parametrize(("degrees", "height", "width"), [(180, 96, 96), (30, 48, 96)])
def test_angles_are_angles_in_pixels(degrees: float, height: int, width: int):
    maps = geometry.draw(geometry.Ranges(degrees=degrees), 5000, height, width, random())
    sides = np.array([width, height])
    in_pixels = maps.matrix * sides[:, None] / sides[None, :]
    assert np.abs(in_pixels @ in_pixels.transpose(0, 2, 1) - np.eye(2)).max() < 1e-9
    angles = np.degrees(np.arctan2(in_pixels[:, 1, 0], in_pixels[:, 0, 0]))
    assert (angles.min(), angles.max()) == pytest.approx((-degrees, degrees), rel=0.01)
    for ranges in (geometry.Ranges(shear_degrees=20), geometry.Ranges(shear_degrees=20, scale=1.6, stretch=1.3)):
        upright = geometry.draw(ranges, 5000, height, width, random()).matrix[:, :, 1] * sides  # where (0, 1) goes
        assert np.degrees(np.arctan(np.abs(upright[:, 0] / upright[:, 1]).max())) == pytest.approx(20, rel=0.01)


def test_a_range_of_its_own_does_not_change_what_the_others_draw():
    one = geometry.draw(geometry.Ranges(shift_pixels=4), 50, SIDE, SIDE, random())
    both = geometry.draw(geometry.Ranges(shift_pixels=4, degrees=10, flip=True), 50, SIDE, SIDE, random())
    assert np.array_equal(one.offset, both.offset)


def test_missing_points_stay_missing_and_change_sides_in_a_mirror():
    y = np.tile(to_targets(PLACES), (400, 1))
    y[:, :2] = np.nan
    x = np.zeros((400, SIDE * SIDE), np.uint8)
    _, new = catalogue.faces_with_key_points(x, y, (SIDE, SIDE), TARGETS, random())
    left, right = np.isnan(new[:, :2]), np.isnan(new[:, 2:4])
    assert (left ^ right).all()
    assert 100 < right[:, 0].sum() < 300
    assert not np.isnan(new[:, 4:]).any()
    assert new.dtype == np.float32


def test_light_changes_brightness_and_contrast_alone():
    x = np.linspace(60, 180, 64).round().astype(np.uint8)[None].repeat(3, axis=0)
    lit = images.relit(x, np.array([1.0, 1.2, 0.5]), np.array([0.1, 0.0, 0.0]))
    assert np.array_equal(lit[0], (x[0] + 25.5 + 0.5).astype(np.uint8))
    assert lit[1].mean() == pytest.approx(x.mean(), abs=0.5)
    assert np.ptp(lit[1]) == pytest.approx(120 * 1.2, abs=1.5)
    assert np.ptp(lit[2]) == pytest.approx(60, abs=1.5)
    assert images.relit(x, np.array([9.0] * 3), np.zeros(3)).max() == 255
    assert images.relit(x, np.ones(3), np.full(3, -0.9)).min() == 0


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_the_generator_alone_decides_and_what_came_in_is_left_alone(name: str):
    x, y = random(1).integers(0, 256, (40, SIDE * SIDE), dtype=np.uint8), np.tile(to_targets(PLACES), (40, 1))
    kept = x.copy(), y.copy()
    augment = catalogue.find(name)
    first, second, other = (augment(x, y, (SIDE, SIDE, 1), TARGETS, random(seed)) for seed in (3, 3, 4))
    assert (first[0].tobytes(), first[1].tobytes()) == (second[0].tobytes(), second[1].tobytes())
    assert (first[0].tobytes() == other[0].tobytes()) == (name == "none")
    assert np.array_equal(x, kept[0])
    assert np.array_equal(y, kept[1])
    assert (first[0].shape, first[0].dtype, first[1].shape, first[1].dtype) == (x.shape, x.dtype, y.shape, y.dtype)


@pytest.mark.parametrize("name", IN_PICTURES)
def test_classes_stay_what_they_are(name: str):
    x, labels = random(1).integers(0, 256, (40, 64), dtype=np.uint8), np.arange(40)
    _, y = catalogue.find(name)(x, labels, (8, 8, 1), (), random())
    assert np.array_equal(y, labels)


def test_names_in_a_mirror():
    pairs = ["left_eye_center_x", "right_eye_center_x", "left_eye_center_x", "mouth_left_corner_y"]
    assert [key_points.in_mirror(name) for name in pairs[:2]] == [pairs[1], pairs[0]]
    assert key_points.in_mirror("mouth_left_corner_y") == "mouth_right_corner_y"
    assert key_points.in_mirror("nose_tip_x") == "nose_tip_x"
    assert all(key_points.in_mirror(key_points.in_mirror(name)) == name for name, _ in pairwise(pairs))


@pytest.mark.parametrize(
    ("name", "shape", "targets", "expected"),
    [
        ("flips", (8, 8, 1), (), "unknown augmentation 'flips'; did you mean 'flip'?"),
        ("flip", None, (), "augment flip moves pictures: the rows of these data are none"),
        ("faces", (8, 8, 1), ("price",), "the target 'price' is no key point"),
        ("faces", (8, 8, 1), ("nose_tip_x",), "the target 'nose_tip_x' comes without 'nose_tip_y'"),
        ("flip", (8, 8, 1), TARGETS[:2], "the target 'left_eye_center_x' comes without 'right_eye_center_x'"),
    ],
)
def test_augmentations_that_cannot_be_are_refused(name: str, shape, targets: tuple[str, ...], expected: str):
    with pytest.raises(JobError, match=re.escape(expected)):
        catalogue.check(name, shape, targets)


def test_what_can_be_passes_the_check():
    catalogue.check("none", None, ("price",))
    for name in IN_PICTURES:
        catalogue.check(name, (8, 8, 1), TARGETS)
        catalogue.check(name, (8, 8, 1), ())


def test_key_points_need_bytes():
    with pytest.raises(JobError, match="needs pictures in bytes"):
        catalogue.faces_with_key_points(np.zeros((1, 64)), np.zeros(1), (8, 8), (), random())
