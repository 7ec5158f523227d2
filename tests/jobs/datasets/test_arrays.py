"""NPZ, mnist.pkl.gz and sequences: what an array may be, and that a pickle runs nothing."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import pickled
from jobs.datasets import mnist_pickle, npz, sequence_csv, sequences, source
from jobs.errors import JobError

LABELS = np.arange(20) % 10
PIXELS = np.arange(20 * 6).reshape(20, 3, 2)


def refusal(path: Path) -> str:
    with pytest.raises(JobError) as caught:
        source.load(source.locate(path, {}))
    return str(caught.value)


def write_npz(path: Path, **changes) -> Path:
    arrays = {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS[:4], "y_test": LABELS[:4]} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_keras_names_and_the_other_way_round_mean_the_same(tmp_path: Path):
    first = npz.read(write_npz(tmp_path / "a.npz", x_val=PIXELS[:2], y_val=LABELS[:2]))
    names = {
        f"{part}_{letter}": array for part in ("train", "test") for letter, array in (("x", PIXELS), ("y", LABELS))
    }
    np.savez(tmp_path / "b.npz", **names)
    other = npz.read(tmp_path / "b.npz")
    assert np.array_equal(first.train_x, other.train_x)
    assert np.array_equal(first.train_y, other.train_y)
    assert first.valid_x is not None
    assert (first.valid_x.shape, other.valid_x) == ((2, 6), None)


@pytest.mark.parametrize(
    ("x", "shape", "image_shape", "kind"),
    [
        (PIXELS, (6,), (3, 2, 1), np.uint8),
        (PIXELS.astype(np.uint8), (6,), (3, 2, 1), np.uint8),
        (PIXELS[..., None], (6,), (3, 2, 1), np.uint8),
        (PIXELS.reshape(20, 6)[:, :4], (4,), (2, 2, 1), np.uint8),
        (PIXELS.reshape(20, 6), (6,), None, np.uint8),
        (PIXELS.reshape(20, 6) - 1, (6,), None, np.float32),
        (PIXELS * 0.5, (3, 2), None, np.float32),
        (PIXELS[..., None] * 0.5, (6,), (3, 2, 1), np.float32),
    ],
)
def test_type_and_shape_say_what_inputs_are(tmp_path: Path, x, shape, image_shape, kind):
    read = source.load(source.locate(write_npz(tmp_path / "a.npz", x_train=x, x_test=x[:4]), {}))
    assert (read.input_shape, read.image_shape, read.train_x.dtype) == (shape, image_shape, kind)
    assert read.scale == (1 / 255 if kind == np.uint8 else 1.0)
    assert np.array_equal(read.train_x.reshape(x.shape), x.astype(kind))


def test_targets_that_are_numbers_may_be_missing(tmp_path: Path):
    y = np.linspace(-1, 1, 40).reshape(20, 2)
    y[3, 1] = np.nan
    read = source.load(source.locate(write_npz(tmp_path / "a.npz", y_train=y, y_test=y[:4]), {}))
    assert (read.classes, read.targets, read.train_y.dtype) == (0, ("target 0", "target 1"), np.float32)
    assert np.array_equal(read.train_y, y.astype(np.float32), equal_nan=True)


FLOATS = PIXELS.reshape(20, 6) / 2


def at(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    changed = array.astype(np.float64)
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"x_test": None}, "lacks x_test: it holds x_train, y_test, y_train"),
        ({"x_valid": PIXELS}, "has one of x_valid and y_valid"),
        ({"x_train": np.array(["a"])}, "x_train is <U1 of the shape (1,): expected numbers"),
        ({"x_train": np.array([object()] * 20)}, "is no NPZ of plain arrays"),
        ({"x_test": PIXELS[:4, :2]}, "x_test has rows of (2, 2): those of x_train have (3, 2)"),
        ({"y_train": LABELS[:19]}, "training: 20 rows of inputs and 19 of targets"),
        ({"y_train": LABELS - 1}, "y_train: row 0 has the label -1"),
        ({"y_train": np.zeros((20, 2), int)}, "expected whole numbers (rows,), or floats"),
        ({"y_test": LABELS[:4] + 0.5}, "expected whole numbers (rows,), or floats"),
        ({"y_train": np.full(20, 10**12)}, "labels up to 1000000000000 in 20 training rows"),
        ({"y_train": np.arange(20) % 9, "y_test": np.array([9, 0, 0, 0])}, "no training row has the label 9"),
        ({"x_train": at(FLOATS, (7, 2), np.nan), "x_test": FLOATS[:4]}, "training: row 7, column 2 is nan"),
        ({"x_train": FLOATS, "x_test": at(FLOATS[:4], (1, 0), np.inf)}, "test: row 1, column 0 is inf"),
        (
            {"x_train": at(PIXELS / 2, (5, 1, 0), np.nan), "x_test": PIXELS[:4] / 2},
            "training: row 5, step 1, feature 0 is nan",
        ),
        ({"x_train": FLOATS, "x_test": FLOATS[:4, :5]}, "inputs of the shape (5,): the training rows have (6,)"),
        ({"y_train": at(LABELS, (2,), np.inf), "y_test": LABELS[:4] / 2}, "training: row 2, target 0 is infinite"),
    ],
)
def test_arrays_that_cannot_be_are_named(tmp_path: Path, changes: dict, expected: str):
    assert expected in refusal(write_npz(tmp_path / "a.npz", **changes))


def test_an_npz_that_is_none_is_refused(tmp_path: Path):
    (tmp_path / "a.npz").write_bytes(b"PK\3\4 and no more")
    assert "is no NPZ of plain arrays" in refusal(tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", LABELS)
    (tmp_path / "b.npy").rename(tmp_path / "a.npz")
    assert "is no NPZ of plain arrays" in refusal(tmp_path / "a.npz")


def mnist_pairs(rows: int = 20) -> list[tuple[np.ndarray, np.ndarray]]:
    x = np.linspace(0, 1, rows * 9, dtype=np.float32).reshape(rows, 9)
    return [(x, np.arange(rows) % 10), (x[:3], np.arange(3)), (x[:2], np.arange(2))]


def write_pickle(path: Path, content: object, protocol: int = 2) -> Path:
    path.write_bytes(gzip.compress(pickle.dumps(content, protocol=protocol)))
    return path


def python_2(array: np.ndarray) -> bytes:
    """The pickle of `array` as Python 2 and NumPy 1.7 wrote it: byte strings, whole numbers for flags."""

    def text(data: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(data)) + data

    def whole(number: int) -> bytes:
        return b"J" + struct.pack("<i", number)

    kind = array.dtype.str[1:].encode()
    dtype = b"cnumpy\ndtype\n" + text(kind) + whole(0) + whole(1) + b"\x87R"
    dtype += b"(" + whole(3) + text(b"<") + b"NNN" + whole(-1) + whole(-1) + whole(0) + b"tb"
    shape = b"(" + b"".join(map(whole, array.shape)) + b"t"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + whole(0) + b"\x85" + text(b"b") + b"\x87R"
    return made + b"(" + whole(1) + shape + dtype + b"\x89" + text(array.tobytes()) + b"tb"


def test_mnist_as_python_2_wrote_it_is_read(tmp_path: Path):
    pairs = mnist_pairs()
    body = b"".join(b"".join(map(python_2, pair)) + b"\x86" for pair in pairs)
    (tmp_path / "mnist.pkl.gz").write_bytes(gzip.compress(b"\x80\x02" + body + b"\x87."))
    read = source.load(source.locate(tmp_path, {}))
    assert np.array_equal(read.train_x, pairs[0][0])
    assert np.array_equal(read.valid_y, pairs[1][1])
    assert np.array_equal(read.test_x, pairs[2][0])
    assert (read.scale, read.classes, read.image_shape) == (1.0, 10, (3, 3, 1))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_mnist_is_read_in_every_pickle_format(tmp_path: Path, protocol: int):
    read = mnist_pickle.read(write_pickle(tmp_path / "mnist.pkl.gz", tuple(mnist_pairs()), protocol))
    assert np.array_equal(read.train_x, mnist_pairs()[0][0])
    assert np.array_equal(read.train_y, LABELS)


class Hostile:
    def __init__(self, function, *arguments):
        self.asked = function, arguments

    def __reduce__(self):
        return self.asked


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_wants_something_run_is_refused(tmp_path: Path, protocol: int):
    hostile = Hostile(os.mkdir, str(tmp_path / "made"))
    path = write_pickle(tmp_path / "mnist.pkl.gz", [*mnist_pairs()[:2], hostile], protocol)
    assert "is no pickle of arrays that can be trusted: it asks for" in refusal(path)
    assert not (tmp_path / "made").exists()


def test_arrays_of_python_objects_are_refused():
    with pytest.raises(ValueError, match="asks for an array of 'O8'"):
        pickled.load(pickle.dumps(np.array([object], dtype=object)))


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (mnist_pairs()[:2], "something else than three pairs"),
        ([*mnist_pairs()[:2], (1, 2)], "test: expected images (rows, pixels) and as many labels (rows,)"),
        ([*mnist_pairs()[:2], (mnist_pairs()[0][0], np.arange(2))], "test: expected images"),
        ([(mnist_pairs()[0][0] * 255, LABELS), *mnist_pairs()[1:]], "training: row 0, column 1 is 1.42"),
        ([(mnist_pairs()[0][0], LABELS + 1), *mnist_pairs()[1:]], "training: row 9 has the label 10"),
        ([(LABELS.reshape(-1, 1), LABELS), *mnist_pairs()[1:]], "images of int64 and labels of int64"),
    ],
)
def test_mnist_pickles_that_cannot_be_are_named(tmp_path: Path, pairs: list, expected: str):
    assert expected in refusal(write_pickle(tmp_path / "mnist.pkl.gz", pairs))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # CPython's own, of a bytearray it drops
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 255))
def test_broken_pickles_raise_value_errors_alone(data: bytes, place: int, byte: int):
    whole = bytearray(pickle.dumps(mnist_pairs(2), protocol=2))
    whole[place % len(whole)] = byte
    for broken in (data, bytes(whole)):
        try:
            pickled.load(broken)
        except ValueError:
            continue


def test_sequences_differ_in_length_and_show_their_class_early():
    read = source.load(source.locate("sequences", {}))
    assert (read.input_shape, read.classes, len(read.train_x), len(read.test_x)) == ((40, 6), 4, 4000, 1000)
    lengths = sequences.lengths_of(read.train_x)
    assert (lengths.min(), lengths.max()) == (10, 40)
    for row, length, label in zip(read.train_x, lengths, read.train_y, strict=True):
        assert (row[length:] == sequences.PADDING).all()
        steps, kinds = np.nonzero(row[:length, : sequences.MARKERS])
        assert kinds.tolist() == [label // 2, label % 2]
        assert steps[1] < 0.4 * length
    assert sequences.CHANCE == 0.75
    assert np.bincount(read.test_y).min() > 200
    assert np.array_equal(sequences.read().train_x, read.train_x)


SEQUENCES = [
    f"{name},{label},{step / 2},{-step}" for name, label in zip("abcde", "01010", strict=True) for step in (0, 1)
]


def write_sequences(path: Path, rows: list[str], header: str = "sequence,label,height,width") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_csv_of_sequences_is_padded_to_the_longest(tmp_path: Path):
    read = source.load(source.locate(write_sequences(tmp_path / "mine.csv", [*SEQUENCES, "f,1,7,8"]), {}))
    assert (read.train_x.shape, read.test_x.shape, read.classes) == ((5, 2, 2), (1, 2, 2), 2)
    assert read.train_x[0].tolist() == [[0, 0], [0.5, -1]]
    assert read.train_x[-1].tolist() == [[7, 8], [sequences.PADDING] * 2]
    assert read.train_y.tolist() == [0, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("e,1,2,3", ":12: label is 1: expected 0, as the sequence's first line has it"),
        ("a,0,2,3", ":12: sequence 'a' was there before"),
        ("f,x,2,3", ":12: label is 'x': expected 0, 1, .."),
        ("f,1,2", ":12: 3 columns: expected 4"),
        ("f,1,2,nan", ":12: width is 'nan': expected a finite number"),
        ("f,1,,3", ":12: height is ''"),
    ],
)
def test_a_csv_of_sequences_names_what_cannot_be(tmp_path: Path, row: str, expected: str):
    assert expected in refusal(write_sequences(tmp_path / "mine.csv", [*SEQUENCES, row]))


def test_a_csv_of_sequences_without_features_or_rows_is_refused(tmp_path: Path):
    assert "one for each feature" in refusal(write_sequences(tmp_path / "m.csv", [], "sequence,label"))
    assert "0 sequence(s): expected at least 5" in refusal(write_sequences(tmp_path / "m.csv", []))
    with pytest.raises(JobError, match="cannot read"):
        sequence_csv.read(tmp_path / "gone.csv")
