"""Kaggle's RowId,Location from places in pixels and its IdLookupTable.csv."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import submission
from jobs.errors import JobError

HEADER = "RowId,ImageId,FeatureName,Location\n"
NUMBERS, TARGETS = [7, 3], ["nose_tip_x", "nose_tip_y"]
PLACES = np.array([[48.25, 50.0], [-0.5, 96.00001]])


def rows(folder: Path, table: str, places=PLACES):
    path = folder / "IdLookupTable.csv"
    path.write_bytes(table.encode())
    return submission.rows(path, NUMBERS, TARGETS, places)


def test_each_row_that_is_asked_for_in_the_tables_order(tmp_path: Path):
    found = rows(tmp_path, HEADER + "9,3,nose_tip_y,\n1,7,nose_tip_x,\n2,3,nose_tip_x,\n4,7,nose_tip_y,\n")
    assert found == [("9", "96.0000"), ("1", "48.2500"), ("2", "0.0000"), ("4", "50.0000")]


def test_a_table_as_windows_writes_it(tmp_path: Path):
    assert rows(tmp_path, "\ufeff" + HEADER.replace("\n", "\r\n") + "1,7,nose_tip_x,\r\n") == [("1", "48.2500")]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (HEADER, "asks for nothing"),
        ("", "missing column.*RowId"),
        ("RowId,FeatureName\n1,nose_tip_x\n", "missing column.*ImageId"),
        (HEADER + "1,7,nose_tip_x,\n1,3,nose_tip_x,\n", "csv:3: RowId is '1'"),
        (HEADER + "x,7,nose_tip_x,\n", "csv:2: RowId is 'x'"),
        (HEADER + "1,8,nose_tip_x,\n", "csv:2: ImageId is '8': expected one of the 2 pictures"),
        (HEADER + "1,,nose_tip_x,\n", "csv:2: ImageId is ''"),
        (HEADER + "1,7,left_eye_center_x,\n", "csv:2: FeatureName is 'left_eye_center_x'"),
        (HEADER + "1,7\n", "csv:2: FeatureName is ''"),
    ],
)
def test_what_cannot_be_answered_is_told_by_its_line(tmp_path: Path, table: str, said: str):
    with pytest.raises(JobError, match=said):
        rows(tmp_path, table)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path):
    with pytest.raises(JobError, match="cannot read"):
        submission.rows(tmp_path / "none.csv", NUMBERS, TARGETS, PLACES)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(JobError, match="is no CSV"):
        submission.rows(tmp_path / "bytes.csv", NUMBERS, TARGETS, PLACES)


def test_an_answer_that_is_no_number(tmp_path: Path):
    with pytest.raises(JobError, match="picture 7, nose_tip_x, is no number"):
        rows(tmp_path, HEADER + "1,7,nose_tip_x,\n", PLACES * np.nan)


@given(st.lists(st.floats(-200, 300), min_size=4, max_size=4))
def test_no_place_is_outside_of_the_picture(tmp_path_factory: pytest.TempPathFactory, values: list[float]):
    table = HEADER + "".join(
        f"{number},{image},{name},\n"
        for number, (image, name) in enumerate((image, name) for image in NUMBERS for name in TARGETS)
    )
    found = rows(tmp_path_factory.mktemp("table"), table, np.reshape(values, (2, 2)))
    for (_, place), value in zip(found, values, strict=True):
        assert float(place) == pytest.approx(min(max(value, 0), 96), abs=5e-5)
