"""Archives and tensor files that lie about themselves are refused, within little memory."""

import io
import json
import os
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher import weights
from launcher.errors import WeightsError

GOOD = {"w": np.arange(6, dtype="<f4").reshape(2, 3), "b": np.zeros(3)}
quick = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def npy(descr: str = "'<f4'", shape: str = "(2,)", body: bytes = b"12345678", fortran: str = "False") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def archive(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as zipped:
        for name, data in members:
            zipped.writestr(name, data)
    return file.getvalue()


def pickled_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([os.system], dtype=object), allow_pickle=True)
    return file.getvalue()


ARCHIVES = {
    "a pickle inside": (archive(("w.npy", pickled_array())), "array of objects"),
    "not a zip": (b"hello", "corrupt"),
    "empty": (b"", "corrupt"),
    "a stranger inside": (archive(("w.npy", npy()), ("run.py", b"x")), "'run.py'"),
    "a nameless array": (archive((".npy", npy())), "'.npy'"),
    "lzma": (archive(("w.npy", npy()), method=zipfile.ZIP_LZMA), "does not use"),
    "no array": (archive(("w.npy", b"hello")), "corrupt"),
    "too short": (archive(("w.npy", npy(body=b"1234"))), "not as long"),
    "too long": (archive(("w.npy", npy(body=b"123456789"))), "not as long"),
    "a shape beyond memory": (archive(("w.npy", npy(shape=f"({2**62},)"))), "not as long"),
    "a negative shape": (archive(("w.npy", npy(shape="(-2,)"))), "not as long"),
    "a shape of text": (archive(("w.npy", npy(shape="('a',)"))), "corrupt"),
    "a type of objects": (archive(("w.npy", npy(descr="'|O'"))), "array of objects"),
    "a type of records": (archive(("w.npy", npy(descr="[('a', '<f4')]"))), "expected numbers"),
    "a type of nonsense": (archive(("w.npy", npy(descr="'os.system'"))), "corrupt"),
    "a header that is code": (archive(("w.npy", npy(shape="__import__('os').getpid()"))), "corrupt"),
    "a header without end": (archive(("w.npy", npy(shape="(" * 5000))), "corrupt"),
    "a header of a future": (archive(("w.npy", b"\x93NUMPY\x09\x00" + npy()[8:])), "version (9, 0)"),
    "raw bytes of bfloat16": (archive(("w.npy", npy(descr="'<V2'", body=b"1234"))), "expected numbers"),
}


@pytest.mark.parametrize("title", ARCHIVES)
def test_a_lying_archive_is_refused(title, tmp_path):
    data, told = ARCHIVES[title]
    (tmp_path / "w.npz").write_bytes(data)
    with pytest.raises(WeightsError, match=r"w\.npz: ") as caught:
        weights.load(tmp_path / "w.npz")
    assert told in caught.value.message


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_given_twice_is_refused(tmp_path):
    (tmp_path / "w.npz").write_bytes(archive(("w.npy", npy()), ("w.npy", npy())))
    with pytest.raises(WeightsError, match="twice"):
        weights.load(tmp_path / "w.npz")


def test_an_encrypted_archive_is_refused(tmp_path):
    data = bytearray(archive(("w.npy", npy())))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "w.npz").write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="encrypted"):
        weights.load(tmp_path / "w.npz")


def test_a_zip_bomb_is_refused_before_it_unfolds(tmp_path):
    size = 2 << 30
    header = npy(shape=f"({size // 4},)", body=b"")
    with (
        zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped,
        zipped.open("w.npy", "w", force_zip64=True) as member,
    ):
        member.write(header)
        for _ in range(32):
            member.write(bytes(size // 32))
    assert (tmp_path / "w.npz").stat().st_size < 20 << 20
    code = (
        "import resource, sys; from pathlib import Path; from launcher import weights; from launcher.errors import *\n"
        "resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))\n"
        "try: weights.load(Path(sys.argv[1]))\n"
        "except WeightsError as fault: print(fault)\n"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(tmp_path / "w.npz")]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "would unfold to" in ended.stdout, ended.stderr


def test_a_path_for_a_name_is_only_a_name(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "w.npz").write_bytes(archive(("../../evil.npy", npy())))
    assert list(weights.load(folder / "w.npz")) == ["../../evil"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "w.npz"]


def tensors(header: object, body: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(begin: object = 0, end: object = 8, dtype: object = "F32", shape: object = (2,)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


FILES = {
    "empty": (b"", "longer than the file"),
    "a length beyond the file": (tensors({}, length=2**63), "longer than the file"),
    "no JSON": (tensors(b"{nonsense"), "not JSON"),
    "JSON without end": (tensors(b"[" * 100_000), "not JSON"),
    "not text": (tensors(b"\xff\xfe"), "not JSON"),
    "a list": (tensors([1]), "not a table"),
    "a name twice": (tensors(b'{"w": {}, "w": {}}'), "twice"),
    "no entry": (tensors({"w": 1}), "broken entry"),
    "an unknown type": (tensors({"w": entry(dtype="F31")}, b"12345678"), "unknown type"),
    "a type that is no text": (tensors({"w": entry(dtype=["F32"])}, b"12345678"), "unknown type"),
    "offsets of text": (tensors({"w": entry(begin="0")}, b"12345678"), "broken entry"),
    "offsets beyond the end": (tensors({"w": entry(end=2**60)}, b"12345678"), "cut off"),
    "offsets backwards": (tensors({"w": entry(begin=0, end=-8)}, b""), "overlap or leave holes"),
    "negative offsets": (tensors({"w": entry(begin=-8, end=0)}, b"12345678"), "overlap or leave holes"),
    "a hole": (tensors({"w": entry(begin=4, end=12)}, b"x" * 12), "overlap or leave holes"),
    "an overlap": (tensors({"w": entry(), "v": entry(4, 12)}, b"x" * 12), "overlap or leave holes"),
    "bytes left over": (tensors({"w": entry()}, b"x" * 9), "cut off"),
    "a shape that does not fit": (tensors({"w": entry(shape=(3,))}, b"12345678"), "cut off or corrupt"),
    "a negative shape": (tensors({"w": entry(shape=(-2,))}, b"12345678"), "impossible shape"),
    "a shape of booleans": (tensors({"w": entry(shape=(True, 2))}, b"12345678"), "impossible shape"),
    "a shape beyond memory": (tensors({"w": entry(shape=(2**62, 4))}, b"12345678"), "cut off or corrupt"),
}


@pytest.mark.parametrize("title", FILES)
def test_a_lying_tensor_file_is_refused(title, tmp_path):
    data, told = FILES[title]
    (tmp_path / "w.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match=r"w\.safetensors: ") as caught:
        weights.load(tmp_path / "w.safetensors")
    assert told in caught.value.message


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_every_cut_off_file_is_refused(tmp_path, kind):
    path = tmp_path / f"w.{kind}"
    weights.save(GOOD, path, kind)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(WeightsError):
            weights.load(path)


@quick
@given(
    st.sampled_from(["npz", "safetensors"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_damaged_file_gives_arrays_or_a_refusal(tmp_path, kind, damage):
    path = tmp_path / f"w.{kind}"
    weights.save(GOOD, path, kind)
    data = bytearray(path.read_bytes())
    for place, value in damage:
        data[int(place * len(data))] = value
    path.write_bytes(bytes(data))
    try:
        found = weights.load(path)
    except WeightsError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())
