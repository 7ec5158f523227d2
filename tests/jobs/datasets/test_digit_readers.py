"""The readers of digits: what they accept, and what they say of the rest."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.datasets import digits, idx, kaggle, pixels, source
from jobs.errors import JobError

NAMES = {
    "train-images": "train-images-idx3-ubyte",
    "train-labels": "train-labels-idx1-ubyte",
    "t10k-images": "t10k-images-idx3-ubyte",
    "t10k-labels": "t10k-labels-idx1-ubyte",
}


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_mnist(folder: Path, **replaced: bytes) -> Path:
    random = np.random.default_rng(0)
    contents = {
        "train-images": idx_bytes(random.integers(0, 256, (20, 4, 3))),
        "train-labels": idx_bytes(np.arange(20) % 10),
        "t10k-images": idx_bytes(random.integers(0, 256, (10, 4, 3))),
        "t10k-labels": idx_bytes(np.arange(10)),
    }
    contents |= {name.replace("_", "-"): data for name, data in replaced.items()}
    folder.mkdir(exist_ok=True, parents=True)
    for part, data in contents.items():
        (folder / NAMES[part]).write_bytes(data)
    return folder


def write_kaggle(path: Path, rows: list[str], pixels: int = 2) -> Path:
    header = ",".join(["label", *(f"pixel{number}" for number in range(pixels))])
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(JobError) as caught:
        source.load(source.locate(path, {}))
    return str(caught.value)


def test_digits_hold_out_a_fifth_of_every_class_and_always_the_same():
    first, again = digits.read(), digits.read()
    assert len(first.train_x) + len(first.test_x) == 1797
    assert (first.input_shape, first.image_shape) == ((64,), (8, 8, 1))
    for label in range(10):
        held = int((first.test_y == label).sum())
        assert held == round(0.2 * (held + int((first.train_y == label).sum())))
    assert np.array_equal(first.test_x, again.test_x)
    assert first.train_x.max() * first.scale == 1.0


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits  # slow, and needed here alone

    bundled, ours = load_digits(), digits.read()
    both = np.concatenate([ours.train_x, ours.test_x]), np.concatenate([ours.train_y, ours.test_y])
    assert sorted(map(tuple, np.column_stack(both))) == sorted(
        map(tuple, np.column_stack([bundled.data, bundled.target]).astype(int))
    )


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_mnist_is_read_whatever_its_files_are_called(tmp_path: Path, zipped: bool, dotted: bool):
    plain = idx.read(idx.find(write_mnist(tmp_path / "plain")))
    other = tmp_path / "other"
    other.mkdir()
    for path in (tmp_path / "plain").iterdir():
        name = path.name.replace("-idx", ".idx") if dotted else path.name
        data = path.read_bytes()
        (other / f"{name}.gz" if zipped else other / name).write_bytes(gzip.compress(data) if zipped else data)
    read = source.load(source.locate(other, {}))
    assert np.array_equal(read.train_x, plain.train_x)
    assert np.array_equal(read.test_y, np.arange(10))
    assert read.input_shape == (12,)
    assert read.image_shape == (4, 3, 1)


@pytest.mark.parametrize(
    ("replaced", "expected"),
    [
        ({"train_labels": idx_bytes(np.full(20, 11))}, "label 11: expected 0 to 9"),
        ({"train_labels": idx_bytes(np.arange(19) % 10)}, "20 images and train-labels-idx1-ubyte 19 labels"),
        (
            {"t10k_images": idx_bytes(np.zeros((10, 3, 3)))},
            "has images of 3 x 3 pixels: the training images have 4 x 3",
        ),
        ({"train_images": idx_bytes(np.zeros((20, 4, 3)))[:-1]}, "wrong shape: its header says 20 x 4 x 3"),
        ({"train_images": b"\x89PNG\r\n\x1a\n"}, "is no IDX file"),
        ({"train_images": gzip.compress(b"half")[:-9]}, "cannot read"),
    ],
)
def test_mnist_that_cannot_be_is_refused(tmp_path: Path, replaced: dict[str, bytes], expected: str):
    assert expected in refusal(write_mnist(tmp_path / "data", **replaced))


def test_mnist_that_is_not_whole_names_what_is_missing(tmp_path: Path):
    folder = write_mnist(tmp_path / "data")
    (folder / NAMES["t10k-labels"]).unlink()
    assert "lacks the MNIST file(s) t10k-labels" in refusal(folder)


def test_kaggle_holds_out_its_last_thousand_rows(tmp_path: Path):
    rows = [f"{number % 10},{number % 256},7" for number in range(5200)]
    read = source.load(source.locate(write_kaggle(tmp_path / "train.csv", rows), {}))
    assert len(read.train_x) == 4200
    assert read.test_x[:, 0].tolist() == [number % 256 for number in range(4200, 5200)]
    assert read.test_y.tolist() == [number % 10 for number in range(4200, 5200)]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_kaggle_is_read_whatever_ends_its_lines(tmp_path: Path, ending: bytes):
    path = write_kaggle(tmp_path / "train.csv", [f"{n % 10},{n},{255 - n}" for n in range(250)])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", ending).rstrip())
    read = kaggle.read(path)
    assert np.concatenate([read.train_x, read.test_x]).tolist() == [[n, 255 - n] for n in range(250)]


COLUMNS = ["label", "pixel0", "pixel1"]
written = st.integers(0, 255).flatmap(
    lambda value: st.sampled_from([str(value), f"{value:03}", f"{value}.0", f" {value}", f'"{value}"'])
)


def slowly(path: Path) -> list[list[int]]:
    lines = path.read_bytes().splitlines(keepends=True)[1:]
    return kaggle.rows_one_by_one(lines, COLUMNS, path, 2).tolist()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(written, min_size=3, max_size=3), min_size=1, max_size=20))
def test_kaggle_numbers_are_read_however_they_are_written(tmp_path: Path, table: list[list[str]]):
    path = write_kaggle(tmp_path / "train.csv", [",".join(row) for row in table])
    expected = [[int(float(cell.strip('"'))) for cell in row] for row in table]
    assert kaggle.read_rows(path, COLUMNS).tolist() == expected
    assert slowly(path) == expected


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="0123456789,\n. x-", max_size=60))
def test_kaggle_quick_reader_accepts_nothing_that_the_slow_one_refuses(tmp_path: Path, text: str):
    path = write_kaggle(tmp_path / "train.csv", ["1,2,3", text])
    try:
        expected = slowly(path)
    except JobError:
        with pytest.raises(JobError):
            kaggle.read_rows(path, COLUMNS)
    else:
        assert kaggle.read_rows(path, COLUMNS).tolist() == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("3,nan,7", ":7: pixel0 is 'nan': expected a whole number from 0 to 255"),
        ("3,,7", ":7: pixel0 is missing"),
        ("3,12,256", ":7: pixel1 is '256'"),
        ("3,12,1.5", ":7: pixel1 is '1.5'"),
        ("3,-1,7", ":7: pixel0 is '-1'"),
        ("3,12", ":7: 2 columns: expected 3"),
        ("12,1,2", "row 6 has the label 12: expected 0 to 9"),
    ],
)
def test_kaggle_names_the_cell_that_cannot_be(tmp_path: Path, row: str, expected: str):
    rows = ["1,2,3"] * 5 + [row] + ["4,5,6"] * 5
    assert expected in refusal(write_kaggle(tmp_path / "train.csv", rows))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("pixel0,pixel1", "missing column(s) label"),
        ("label,pixel0,pixel2", "missing column(s) pixel1"),
        ("label", "missing column(s) pixel0"),
        ("", "missing column(s) label"),
    ],
)
def test_kaggle_names_the_columns_that_are_missing(tmp_path: Path, header: str, expected: str):
    (tmp_path / "train.csv").write_text(f"{header}\n1,2,3\n", encoding="utf-8")
    assert expected in refusal(tmp_path)


def test_kaggle_without_rows_is_refused(tmp_path: Path):
    assert "0 row(s): expected at least 5" in refusal(write_kaggle(tmp_path / "train.csv", []))


def test_kaggle_in_several_blocks_is_read_as_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_kaggle(
        tmp_path / "train.csv", [f"{n % 10},{n % 256},{n // 256}" for n in range(999)] + ['"1","2","3"']
    )
    whole = kaggle.read_rows(path, COLUMNS)
    monkeypatch.setattr(pixels, "BLOCK_BYTES", 50)
    assert np.array_equal(kaggle.read_rows(path, COLUMNS), whole)
    path.write_text(path.read_text(encoding="utf-8") + "1,2,3\n1,x,3\n", encoding="utf-8")
    with pytest.raises(JobError, match=r":1003: pixel0 is 'x'"):
        kaggle.read_rows(path, COLUMNS)


@pytest.mark.parametrize(("count", "shape"), [(4, (2, 2, 1)), (2, None)])
def test_kaggle_pixels_that_fill_a_square_are_a_picture(tmp_path: Path, count: int, shape: tuple[int, ...] | None):
    rows = [",".join(["0"] * (count + 1))] * 5
    assert kaggle.read(write_kaggle(tmp_path / "train.csv", rows, pixels=count)).image_shape == shape


def test_a_class_that_no_row_has_is_named(tmp_path: Path):
    rows = [f"{n % 9},1,2" for n in range(50)]
    assert "no training row has the label 9: expected 0 to 9" in refusal(write_kaggle(tmp_path / "train.csv", rows))
