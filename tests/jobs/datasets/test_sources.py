"""Which data set a name or a path means, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs.datasets import idx, source
from jobs.errors import JobError

HEADERS = {
    "kaggle": "label,pixel0,pixel1",
    "fer": "emotion,pixels,Usage",
    "key-points": "left_eye_center_x,left_eye_center_y,Image",
    "sequence-csv": "sequence,label,height",
}


def refusal(name: object) -> str:
    with pytest.raises(JobError) as caught:
        source.load(source.locate(name, {}))
    return str(caught.value)


def write_idx_names(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for part in idx.PARTS:
        (folder / f"{part}-idx{3 if part.endswith('images') else 1}-ubyte").touch()
    return folder


@pytest.mark.parametrize("name", sorted(source.GENERATED))
def test_what_needs_no_file_is_found_by_name(name: str):
    assert source.locate(name, {}) == source.Source(kind=name)


@pytest.mark.parametrize("kind", sorted(HEADERS))
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_is_told_by_its_header_whatever_it_is_called(tmp_path: Path, kind: str, mark: str):
    path = tmp_path / "mine.csv"
    path.write_text(f"{mark}{HEADERS[kind]}\n", encoding="utf-8")
    assert source.locate(path, {}) == source.Source(kind=kind, path=path)
    assert source.locate(tmp_path, {}) == source.Source(kind=kind, path=path)


@pytest.mark.parametrize(("name", "kind"), [("mnist.pkl.gz", "mnist-pickle"), ("mnist.npz", "npz")])
def test_files_are_found_in_folders_and_in_folders_below(tmp_path: Path, name: str, kind: str):
    path = tmp_path / "below" / name
    path.parent.mkdir()
    path.touch()
    assert source.locate(tmp_path, {}) == source.locate(path.parent, {}) == source.Source(kind=kind, path=path)


def test_data_dir_is_taken_when_it_holds_data_and_the_digits_when_not(tmp_path: Path):
    environ = {"GPURUN_DATA_DIR": str(tmp_path / "data")}
    assert source.locate(None, environ).kind == "digits"
    (tmp_path / "data").mkdir()
    assert source.locate(None, environ).kind == "digits"
    folder = write_idx_names(tmp_path / "data" / "mnist")
    assert source.locate(None, environ) == source.Source(kind="idx", path=folder)
    assert source.locate("digits", environ).kind == "digits"


def test_data_that_is_not_there_or_is_none_says_what_is_expected(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    assert "does not exist: expected `digits`" in refusal(tmp_path / "nowhere")
    assert "holds notes.txt: expected `digits`" in refusal(tmp_path)
    assert "is no data set" in refusal(tmp_path / "notes.txt")
    assert "no data is named" in refusal(7)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("mnist", "cvdf-datasets/mnist"),
        ("mnist.pkl.gz", "curl -LO"),
        ("mnist.npz", "tf-keras-datasets/mnist.npz"),
        ("train.csv", "competitions download -c digit-recognizer"),
        ("fer2013.csv", "-c challenges-in-representation-learning-facial-expression-recognition-challenge"),
        ("training.csv", "competitions download -c facial-keypoints-detection"),
    ],
)
def test_a_real_set_that_is_not_there_says_how_to_get_it(tmp_path: Path, name: str, way: str):
    told = refusal(tmp_path / name)
    assert "does not exist" in told
    assert "to get it: " in told
    assert way in told.partition("to get it: ")[2]


def test_a_loaded_set_says_where_it_came_from(tmp_path: Path):
    x, y = np.zeros((4, 3), np.float32), np.arange(4) % 2
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    assert source.load(source.locate(tmp_path, {})).name == f"arrays from {tmp_path / 'mine.npz'}"
