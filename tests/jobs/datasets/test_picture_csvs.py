"""FER2013 and Kaggle's key points: what is read, and how exactly is told what cannot be."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.datasets import fer, key_points, pixels, source
from jobs.errors import JobError

GREY = " ".join(["7"] * 48 * 48)
FACE = " ".join(["9"] * 96 * 96)


def write(path: Path, *lines: str, ending: str = "\n") -> Path:
    path.write_bytes((ending.join(lines) + ending).encode())
    return path


def fer_rows() -> list[str]:
    return [f"{n % 7},{n} {GREY[2:]},{('Training', 'Training', 'PublicTest', 'PrivateTest')[n % 4]}" for n in range(28)]


def refusal(path: Path) -> str:
    with pytest.raises(JobError) as caught:
        source.load(source.locate(path, {}))
    return str(caught.value)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_fer_is_split_as_its_usage_column_says(tmp_path: Path, ending: str):
    path = write(tmp_path / "fer2013.csv", "emotion,pixels,Usage", *fer_rows(), ending=ending)
    read = source.load(source.locate(path, {}))
    assert (read.classes, read.image_shape, read.train_x.dtype) == (7, (48, 48, 1), np.uint8)
    assert read.train_x[:, 0].tolist() == [n for n in range(28) if n % 4 < 2]
    assert read.valid_x is not None
    assert read.valid_x[:, 0].tolist() == list(range(2, 28, 4))
    assert read.test_y.tolist() == [n % 7 for n in range(3, 28, 4)]
    assert (read.train_x[:, 1:] == 7).all()


def test_fer_is_read_in_kaggles_other_order_with_quotes(tmp_path: Path):
    lines = [f'{e}, {u},"{p}"' for e, p, u in (row.split(",") for row in fer_rows())]
    read = fer.read(write(tmp_path / "icml_face_data.csv", "emotion, Usage, pixels", *lines))
    plain = fer.read(write(tmp_path / "fer2013.csv", "emotion,pixels,Usage", *fer_rows()))
    assert np.array_equal(read.train_x, plain.train_x)
    assert np.array_equal(read.test_y, plain.test_y)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (f"7,{GREY},Training", ":30: emotion is '7': expected 0 to 6"),
        (f",{GREY},Training", ":30: emotion is '': expected 0 to 6"),
        (f"1,{GREY},Test", ":30: Usage is 'Test': expected Training, PublicTest, PrivateTest"),
        (f"1,{GREY} 7,Training", ":30: pixels has 2305 pixels: expected 2304"),
        (f"1,256{GREY[1:]},Training", ":30: pixels, pixel 0, is '256': expected a whole number from 0 to 255"),
        (f"1,{GREY[:-1]}x,Training", ":30: pixels, pixel 2303, is 'x'"),
        (f"1,{GREY}", ":30: 2 columns: expected 3"),
    ],
)
def test_fer_names_line_and_column_of_what_cannot_be(tmp_path: Path, row: str, expected: str):
    assert expected in refusal(write(tmp_path / "f.csv", "emotion,pixels,Usage", *fer_rows(), row))


def test_fer_without_usage_or_without_test_rows_is_refused(tmp_path: Path):
    assert "missing column(s) Usage: expected emotion,pixels,Usage" in refusal(
        write(tmp_path / "f.csv", "emotion,pixels", f"1,{GREY}")
    )
    rows = [row for row in fer_rows() if not row.endswith("PrivateTest")]
    assert "has no rows of Usage PrivateTest" in refusal(write(tmp_path / "f.csv", "emotion,pixels,Usage", *rows))
    assert "has no rows of Usage Training" in refusal(write(tmp_path / "f.csv", "emotion,pixels,Usage"))


def test_fer_without_rows_to_choose_by_has_none(tmp_path: Path):
    rows = [row for row in fer_rows() if not row.endswith("PublicTest")]
    assert fer.read(write(tmp_path / "f.csv", "emotion,pixels,Usage", *rows)).valid_x is None


def key_point_rows(count: int = 10) -> list[str]:
    return [f"{n + 0.5},,{n} {FACE[2:]}" if n % 2 else f"{n + 0.5},{n},{n} {FACE[2:]}" for n in range(count)]


HEADER = "nose_tip_x,nose_tip_y,Image"


def test_key_points_are_scaled_as_deck_2_does_and_missing_ones_are_nan(tmp_path: Path):
    read = source.load(source.locate(write(tmp_path / "training.csv", HEADER, *key_point_rows()), {}))
    assert (read.classes, read.targets) == (0, ("nose_tip_x", "nose_tip_y"))
    assert (read.image_shape, read.train_x.shape, read.test_x.shape) == ((96, 96, 1), (8, 9216), (2, 9216))
    held_out = [n for n in range(10) if n % 5 == 4]
    assert read.test_x[:, 0].tolist() == held_out
    expected = [[(n + 0.5 - 48) / 48, math.nan if n % 2 else (n - 48) / 48] for n in range(10)]
    assert np.array_equal(read.test_y, np.float32([expected[n] for n in held_out]), equal_nan=True)
    assert read.train_y.dtype == np.float32
    assert np.allclose(key_points.to_pixels(read.train_y)[:, 0], [n + 0.5 for n in range(10) if n not in held_out])


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        (HEADER, f"1,far,{FACE}", ":12: nose_tip_y is 'far': expected a number of pixels, or nothing"),
        (HEADER, f"1,inf,{FACE}", ":12: nose_tip_y is 'inf'"),
        (HEADER, f"1,2,{FACE[2:]}", ":12: Image has 9215 pixels: expected 9216"),
        (HEADER, f"1,2,3,{FACE}", ":12: 4 columns: expected 3"),
        ("nose_tip_x,Image", f"1,{FACE}", "missing column(s) nose_tip_y"),
        ("nose_tip_x,nose_tip_y", "1,2", "missing column(s) Image"),
        ("nose_tip_x,nose_tip_y,ear_x,Image", f"1,2,3,{FACE}", "unknown column(s) ear_x"),
        ("ImageId,Image", f"1,{FACE}", "Kaggle's test.csv has no targets, its training.csv has"),
        ("nose_tip_x,nose_tip_x,nose_tip_y,Image", f"1,2,3,{FACE}", "a column is there twice"),
    ],
)
def test_key_points_that_cannot_be_are_named(tmp_path: Path, header: str, row: str, expected: str):
    lines = [*key_point_rows(), row] if header == HEADER else [row]
    assert expected in refusal(write(tmp_path / "t.csv", header, *lines))


def test_key_points_need_rows_and_some_value_of_each_point(tmp_path: Path):
    assert "4 row(s): expected at least 5" in refusal(write(tmp_path / "t.csv", HEADER, *key_point_rows(4)))
    rows = [f"{n},,{FACE}" for n in range(10)]
    assert "no training row has a value of nose_tip_y" in refusal(write(tmp_path / "t.csv", HEADER, *rows))


def test_pictures_to_predict_are_read_with_their_numbers(tmp_path: Path):
    path = write(tmp_path / "test.csv", "ImageId,Image", f"1,{FACE}", f"2,{FACE}")
    numbers, pictures = key_points.read_images(path)
    assert numbers.tolist() == [1, 2]
    assert pictures.shape == (2, 9216)
    assert (pictures == 9).all()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(0, 255), min_size=3, max_size=3), min_size=1, max_size=30))
def test_tables_of_pixels_come_back_as_they_were(rows: list[list[int]]):
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()
    found = pixels.table(text, 3, b" ")
    assert found is not None
    assert found.tolist() == rows


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="0123456789 \n,.x\0é", max_size=40))
def test_tables_of_pixels_are_either_exact_or_none(text: str):
    found = pixels.table(text.encode(), 2, b" ")
    if found is not None:
        assert text.endswith("\n")
        assert found.tolist() == [[int(cell) for cell in line.split(" ")] for line in text[:-1].split("\n")]
