"""Rows without answers, and how sure a network is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs import predict
from jobs.datasets import key_points, unlabelled
from jobs.errors import JobError

TARGETS = ("left_eye_center_x", "left_eye_center_y")


def asked(folder: Path) -> unlabelled.Unlabelled:
    picture = " ".join(["7"] * key_points.SIDE**2)
    (folder / "test.csv").write_text(f"ImageId,Image\n11,{picture}\n12,{picture}\n")
    found = unlabelled.read(folder / "test.csv")
    assert found is not None
    return found


def test_pictures_of_a_test_csv(tmp_path: Path):
    found = asked(tmp_path)
    assert found.numbers.tolist() == [11, 12]
    assert (found.x == 7).all()
    data = found.dataset(0, TARGETS)
    assert (data.test_x.shape, data.test_y.shape, data.image_shape) == ((2, 9216), (2, 2), (96, 96, 1))
    assert data.scale == pytest.approx(1 / 255)


@pytest.mark.parametrize("text", ["label,pixel0\n1,2\n", "emotion,pixels,Usage\n0,1 2,Training\n"])
def test_files_with_answers_are_none(tmp_path: Path, text: str):
    (tmp_path / "train.csv").write_text(text)
    assert unlabelled.read(tmp_path / "train.csv") is None
    assert unlabelled.read(tmp_path) is None
    assert unlabelled.read(Path("digits")) is None


def test_a_file_without_rows_is_refused(tmp_path: Path):
    (tmp_path / "test.csv").write_text("pixel0,pixel1\n")
    with pytest.raises(JobError, match="has no rows"):
        unlabelled.read(tmp_path / "test.csv")


def test_probabilities_add_up_to_one_however_large_the_logits():
    found = predict.probabilities(np.array([[1000.0, 0.0, -1000.0], [0.0, 0.0, 0.0]]))
    assert np.allclose(found, [[1, 0, 0], [1 / 3] * 3])
    yes_or_no = predict.probabilities(np.array([[0.0], [2.0]]))
    assert np.allclose(yes_or_no, [[0.5, 0.5], [1 - 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-2))]])
