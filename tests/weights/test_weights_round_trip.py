"""Arrays come back bit for bit from every format, and from what others wrote."""

import io
import os
import pickle
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from launcher import weights
from launcher.errors import WeightsError
from launcher.weights import pickled

NUMBERS = ["?", "b", "h", "i", "q", "B", "H", "I", "Q", "e", "f", "d"]
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "strided" and array.ndim:
        return np.repeat(array, 2, axis=0)[::2]
    return array.T if layout == "transposed" else array


def arrays_of(dtypes: list[str], orders: str) -> st.SearchStrategy[dict[str, np.ndarray]]:
    kinds = st.builds(
        lambda code, order: np.dtype(code).newbyteorder(order), st.sampled_from(dtypes), st.sampled_from(orders)
    )
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    plain = kinds.flatmap(lambda kind: hnp.arrays(kind, shapes))
    layouts = st.sampled_from(["plain", "fortran", "strided", "transposed"])
    return st.dictionaries(names, st.builds(laid_out, plain, layouts), max_size=4)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.str, array.shape, array.tobytes()


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert {name: bits(array) for name, array in found.items()} == {n: bits(a) for n, a in expected.items()}


quick = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(arrays_of([*NUMBERS, "F", "D", "g", "S3", "U2"], "<>"), st.sampled_from(["pkl", "npz"]))
def test_numpys_own_formats_keep_every_bit_and_the_byte_order(tmp_path, arrays, kind):
    path = tmp_path / f"w.{kind}"
    weights.save(arrays, path, kind)
    assert_same(weights.load(path), arrays)


@quick
@given(arrays_of(NUMBERS, "<>"))
def test_safetensors_keeps_every_bit_in_little_endian(tmp_path, arrays):
    path = tmp_path / "w.safetensors"
    weights.save(arrays, path, "safetensors")
    little = {name: array.astype(array.dtype.newbyteorder("<")) for name, array in arrays.items()}
    assert_same(weights.load(path), little)


@quick
@given(arrays_of([*NUMBERS, "D", "S3", "U2"], "<>"), st.integers(0, 5))
def test_what_python_pickled_is_read_bit_for_bit(arrays, protocol):
    assert_same(pickled.loads(pickle.dumps(arrays, protocol=protocol)), arrays)


@pytest.mark.parametrize("kind", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("suffix", ["pkl", "safetensors"])
def test_machine_learning_types_are_kept(tmp_path, kind, suffix):
    array = np.arange(24).reshape(4, 6).astype(getattr(ml_dtypes, kind))
    path = tmp_path / f"w.{suffix}"
    weights.save({"w": array, "none": array[:0]}, path, suffix)
    found = weights.load(path)
    assert found["w"].dtype == array.dtype
    assert_same(found, {"w": array, "none": array[:0]})


def test_a_type_that_npz_cannot_hold_is_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "w.npz"
    weights.save({"w": np.ones(2)}, path, "npz")
    with pytest.raises(WeightsError, match="bfloat16") as caught:
        weights.save({"w": np.ones(2, ml_dtypes.bfloat16)}, path, "npz")
    assert "safetensors" in caught.value.hint
    assert list(weights.load(path)) == ["w"]
    assert names_in(tmp_path) == ["w.npz"]


def test_without_ml_dtypes_its_types_are_refused_with_the_remedy(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    weights.save({"w": np.ones(2, ml_dtypes.bfloat16)}, path, "safetensors")
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    with pytest.raises(WeightsError, match="bfloat16") as caught:
        weights.load(path)
    assert caught.value.hint == "pip install ml_dtypes"


@pytest.mark.parametrize("target", ["pkl", "npz", "safetensors"])
@pytest.mark.parametrize("source", ["pkl", "npz", "safetensors"])
def test_every_format_converts_to_every_other(tmp_path, source, target):
    arrays = {"layer/w": np.arange(6, dtype="<f4").reshape(2, 3), "b": np.array(True), "none": np.zeros((0, 3), "<f8")}
    weights.save(arrays, tmp_path / f"one.{source}", source)
    weights.convert(tmp_path / f"one.{source}", tmp_path / f"two.{target}", target)
    assert_same(weights.load(tmp_path / f"two.{target}"), arrays)


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_a_conversion_can_leave_the_jobs_own_file_alone(tmp_path, kind):
    source, own = tmp_path / "a.pkl", tmp_path / f"a.{kind}"
    weights.save({"w": np.ones(2)}, source, "pkl")
    weights.save({"w": np.zeros(2)}, own, kind)
    before = own.read_bytes()
    with pytest.raises(WeightsError, match="holds other weights") as caught:
        weights.convert(source, own, kind, overwrite=False)
    assert "--to DIR" in caught.value.hint
    assert own.read_bytes() == before
    own.unlink()
    weights.convert(source, own, kind, overwrite=False)
    assert weights.load(own)["w"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("there", "same"),
    [
        ({"w": np.array([1.0, np.nan], ">f4")}, True),
        ({"w": np.array([1.0, np.nan], "<f8")}, False),
        ({"w": np.array([[1.0, np.nan]], "<f4")}, False),
        ({"v": np.array([1.0, np.nan], "<f4")}, False),
        ({"w": np.array([1.0, np.nan], "<f4"), "v": np.ones(1)}, False),
    ],
)
def test_a_conversion_that_is_done_already_stays(tmp_path, there, same):
    weights.save({"w": np.array([1.0, np.nan], "<f4")}, tmp_path / "a.pkl", "pkl")
    weights.save(there, tmp_path / "a.npz", "npz")
    before = (tmp_path / "a.npz").stat()
    if same:
        weights.convert(tmp_path / "a.pkl", tmp_path / "a.npz", "npz", overwrite=False)
    else:
        with pytest.raises(WeightsError):
            weights.convert(tmp_path / "a.pkl", tmp_path / "a.npz", "npz", overwrite=False)
    assert (tmp_path / "a.npz").stat().st_ino == before.st_ino


def test_a_target_that_cannot_be_read_is_not_written_over(tmp_path):
    weights.save({"w": np.ones(2)}, tmp_path / "a.pkl", "pkl")
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(WeightsError, match="is there already"):
        weights.convert(tmp_path / "a.pkl", tmp_path / "a.npz", "npz", overwrite=False)
    assert (tmp_path / "a.npz").read_bytes() == b"no archive"


def test_a_target_folder_is_made_or_refused(tmp_path):
    assert weights.target_folder(tmp_path / "a" / "b").is_dir()
    assert weights.target_folder(tmp_path / "a") == tmp_path / "a"
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "b"]
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(WeightsError, match="is not a folder") as caught:
            weights.target_folder(path)
        assert "--to DIR" in caught.value.hint
    for path in (Path("/proc"), Path("/proc/x"), tmp_path / ("x" * 300)):
        with pytest.raises(WeightsError, match="no weights can be written"):
            weights.target_folder(path)


def test_other_libraries_read_what_we_write(tmp_path):
    arrays = {"w": np.arange(6, dtype="<f4").reshape(2, 3), "i": np.arange(3), "flag": np.array([True, False])}
    for kind in weights.WeightsFormat:
        weights.save(arrays, tmp_path / f"w.{kind}", kind)
    with np.load(tmp_path / "w.npz", allow_pickle=False) as archive:
        assert_same(dict(archive), arrays)
    assert_same(safetensors.numpy.load_file(tmp_path / "w.safetensors"), arrays)
    assert_same(pickle.loads((tmp_path / "w.pkl").read_bytes()), arrays)  # our own bytes


def test_we_read_what_other_libraries_write(tmp_path):
    arrays = {"w": np.arange(6, dtype="<f4").reshape(2, 3), "i": np.arange(3), "none": np.zeros((2, 0))}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    np.savez(tmp_path / "b.npz", **arrays)
    safetensors.numpy.save_file(arrays, tmp_path / "c.safetensors", metadata={"format": "np"})
    for name in ("a.npz", "b.npz", "c.safetensors"):
        assert_same(weights.load(tmp_path / name), arrays)


def test_a_pickle_of_numpy_1_and_python_2_is_read(tmp_path):
    """As cPickle of Python 2 wrote it: bytes as text, the old module names."""
    raw = np.arange(3, dtype="<f4").tobytes()
    data = (
        b"\x80\x02}U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x03\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U" + bytes([len(raw)]) + raw + b"tbs."
    )
    (tmp_path / "old.pkl").write_bytes(data)
    assert_same(weights.load(tmp_path / "old.pkl"), {"w": np.arange(3, dtype="<f4")})


def test_what_was_loaded_can_be_changed_and_shared_arrays_stay_shared(tmp_path):
    tied = np.arange(3.0)
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"one": tied, "two": tied}))
    found = weights.load(tmp_path / "w.pkl")
    found["one"] += 1
    assert found["two"].tolist() == [1.0, 2.0, 3.0]


def test_numpy_scalars_become_arrays_without_axes(tmp_path):
    weights.save({"rate": np.float32(0.5)}, tmp_path / "w.npz", "npz")
    assert bits(weights.load(tmp_path / "w.npz")["rate"]) == bits(np.array(0.5, "f4"))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"": np.zeros(1)}, "the name ''"),
        ({"a\0b": np.zeros(1)}, "the name"),
        ({"\ud800": np.zeros(1)}, "valid Unicode"),
        ({"w": [1.0]}, "type list"),
        ({"w": np.array([None])}, "array of object"),
        ({"w": np.zeros(2, "M8[s]")}, "datetime64"),
        ({"w": np.ma.zeros(2)}, "MaskedArray"),
    ],
)
@pytest.mark.parametrize("kind", weights.WeightsFormat)
def test_what_cannot_be_kept_is_refused_before_a_file_is_made(tmp_path, values, told, kind):
    with pytest.raises(WeightsError, match=told):
        weights.save(values, tmp_path / f"w.{kind}", kind)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("array", [np.zeros(2, "c16"), np.array(["text"]), np.zeros(1, "g")])
def test_types_without_a_place_in_safetensors_are_refused(tmp_path, array):
    with pytest.raises(WeightsError, match="cannot hold"):
        weights.save({"w": array}, tmp_path / "w.safetensors", "safetensors")
    assert names_in(tmp_path) == []


def test_an_unknown_format_or_suffix_is_told_with_the_known_ones(tmp_path):
    with pytest.raises(WeightsError, match="'h5'") as caught:
        weights.save({}, tmp_path / "w.h5", "h5")
    assert caught.value.hint == "choose one of pkl, npz, safetensors"
    with pytest.raises(WeightsError, match=r"w\.h5 is no weights file"):
        weights.load(tmp_path / "w.h5")


def test_a_missing_or_unreadable_file_is_told(tmp_path):
    with pytest.raises(WeightsError, match="No such file"):
        weights.load(tmp_path / "gone.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(WeightsError, match="cannot read"):
        weights.load(tmp_path / "folder.npz")


def test_a_write_that_fails_leaves_the_old_file_and_no_scraps(tmp_path, monkeypatch):
    path = tmp_path / "w.npz"
    weights.save({"w": np.ones(2)}, path, "npz")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match="No space left") as caught:
        weights.save({"w": np.zeros(2)}, path, "npz")
    assert "df -h" in caught.value.hint
    assert weights.load(path)["w"].tolist() == [1.0, 1.0]
    assert names_in(tmp_path) == ["w.npz"]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(WeightsError, match="cannot write"):
        weights.save({"w": np.ones(2)}, tmp_path / "no" / "w.npz", "npz")


def test_copies_are_whole_or_told(tmp_path):
    (tmp_path / "w.pkl").write_bytes(b"any bytes")
    weights.copy(tmp_path / "w.pkl", tmp_path / "v.pkl")
    assert (tmp_path / "v.pkl").read_bytes() == b"any bytes"
    with pytest.raises(WeightsError, match="gone"):
        weights.copy(tmp_path / "gone.pkl", tmp_path / "u.pkl")
    assert names_in(tmp_path) == ["v.pkl", "w.pkl"]


def test_find_gives_the_newest_first_without_links_and_scraps(tmp_path):
    for age, name in enumerate(["a.npz", "deep/er/b.pkl", "c.safetensors", "D.PICKLE"]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        os.utime(path, (1000 - age, 1000 - age))
    for name in (".hidden.npz", "deep/.cache/x.npz", "notes.txt", "model.h5"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link.npz").symlink_to("/etc/passwd")
    (tmp_path / "folder.npz").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in weights.find(tmp_path)]
    assert found == ["a.npz", "deep/er/b.pkl", "c.safetensors", "D.PICKLE"]
    assert weights.find(tmp_path / "nowhere") == []


def test_a_pickle_in_memory_is_written_as_python_reads_it():
    file = io.BytesIO()
    pickled.dump({"w": np.arange(3)}, file)
    assert pickle.loads(file.getvalue())["w"].tolist() == [0, 1, 2]  # our own bytes


def test_paths_with_odd_names_work(tmp_path):
    path: Path = tmp_path / "gewichte-ä 100 % ♥.npz"
    weights.save({"w": np.ones(1)}, path, "npz")
    assert weights.find(tmp_path) == [path]
    assert weights.load(path)["w"].tolist() == [1.0]
