"""Pickles that would run something are refused by name, and provably run nothing."""

import copyreg
import gc
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher import weights
from launcher.errors import WeightsError
from launcher.weights import pickled
from launcher.weights.pending import PendingArray

GOOD = {"w": np.arange(6, dtype="f4").reshape(2, 3), "b": np.zeros(3)}


class Calls:
    """An object whose pickle asks for a call."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"\x8c" + bytes([len(encoded)]) + encoded


def short(value: bytes) -> bytes:
    return b"C" + bytes([len(value)]) + value


def named(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def stacked(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def of(body: bytes) -> bytes:
    """A pickle of {"w": body}."""
    return b"\x80\x04}" + text("w") + body + b"s."


def refused(data: bytes, path: Path) -> WeightsError:
    path.write_bytes(data)
    with pytest.raises(WeightsError) as caught:
        weights.load(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


# What each stands for, its bytes with MARKER as the file that it would make, and what the refusal must name.
TOUCH = "touch MARKER"
CORPUS = {
    "os.system by reduce": (pickle.dumps({"w": Calls(os.system, TOUCH)}), "posix.system"),
    "os.system by global": (of(named("os", "system") + b"(" + text(TOUCH) + b"tR"), "os.system"),
    "protocol 0": (pickle.dumps({"w": Calls(os.system, TOUCH)}, protocol=0), "posix.system"),
    "protocol 2": (pickle.dumps({"w": Calls(os.system, TOUCH)}, protocol=2), "posix.system"),
    "subprocess": (pickle.dumps({"w": Calls(subprocess.call, ["touch", "MARKER"])}), "subprocess.call"),
    "builtins.eval": (pickle.dumps({"w": Calls(eval, "open('MARKER', 'w')")}), "builtins.eval"),
    "builtins.exec": (pickle.dumps({"w": Calls(exec, "open('MARKER', 'w')")}), "builtins.exec"),
    "builtins.open": (pickle.dumps({"w": Calls(open, "MARKER", "w")}), "io.open"),
    "__import__": (pickle.dumps({"w": Calls(__import__, "os")}), "builtins.__import__"),
    "getattr": (pickle.dumps({"w": Calls(getattr, "x", "upper")}), "builtins.getattr"),
    "__builtin__ of Python 2": (of(named("__builtin__", "eval") + b"(" + text("1") + b"tR"), "__builtin__.eval"),
    "a dotted name": (of(stacked("numpy", "f2py.os.system") + text(TOUCH) + b"\x85R"), "numpy.f2py.os.system"),
    "numpy.f2py": (of(named("numpy.f2py.diagnose", "os") + b"(tR"), "numpy.f2py.diagnose.os"),
    "numpy.testing runstring": (
        of(stacked("numpy.testing._private.utils", "runstring") + text("open('MARKER', 'w')") + b"}\x86R"),
        "numpy.testing._private.utils.runstring",
    ),
    "numpy.load": (of(stacked("numpy", "load") + text("MARKER") + b"\x85R"), "numpy.load"),
    "numpy.lib.npyio": (of(stacked("numpy.lib._npyio_impl", "loadtxt") + b")R"), "numpy.lib._npyio_impl.loadtxt"),
    "ndarray.tofile": (of(stacked("numpy", "ndarray.tofile") + text("MARKER") + b"\x85R"), "numpy.ndarray.tofile"),
    "an attribute of ours": (of(stacked("numpy.dtype", "__class__") + b")R"), "numpy.dtype.__class__"),
    "a name split over a dot": (of(stacked("numpy.core", "multiarray.sys") + b")R"), "numpy.core.multiarray.sys"),
    "codecs of another kind": (of(stacked("_codecs", "decode") + text("x") + b"\x85R"), "_codecs.decode"),
    "copyreg": (of(named("copyreg", "_reconstructor") + b"(tR"), "copyreg._reconstructor"),
    "copyreg.add_extension": (pickle.dumps({"w": Calls(copyreg.add_extension, "os", "system", 9)}), "add_extension"),
    "functools.partial": (of(stacked("functools", "partial") + b")R"), "functools.partial"),
    "operator.attrgetter": (of(stacked("operator", "attrgetter") + text("system") + b"\x85R"), "operator.attrgetter"),
    "another pickle": (pickle.dumps({"w": Calls(pickle.loads, b"N.")}), "_pickle.loads"),
    "INST": (b"\x80\x04}" + text("w") + b"(" + text(TOUCH) + b"ios\nsystem\n" + b"s.", "INST of 'os.system'"),
    "OBJ": (of(b"(" + named("os", "system") + text(TOUCH) + b"o"), "os.system"),
    "OBJ of an allowed class": (of(b"(" + named("numpy", "ndarray") + text("x") + b"o"), "OBJ"),
    "NEWOBJ of an allowed class": (of(named("numpy", "ndarray") + b")\x81"), "NEWOBJ"),
    "NEWOBJ_EX": (of(named("numpy", "ndarray") + b")}\x92"), "NEWOBJ_EX"),
    "a persistent id": (of(text("MARKER") + b"Q"), "BINPERSID"),
    "a persistent id in text": (of(b"PMARKER\n"), "PERSID"),
    "EXT1": (of(b"\x82\x09"), "EXT1"),
    "EXT2": (of(b"\x83\x09\x00"), "EXT2"),
    "EXT4": (of(b"\x84\x09\x00\x00\x00"), "EXT4"),
    "a buffer from outside": (of(b"\x97"), "NEXT_BUFFER"),
    "a name that is no text": (of(b"K\x01" + text("system") + b"\x93"), "without a name"),
    "a call of a text": (of(text("os.system") + b")R"), "calls a str"),
    "a call of an array": (pickle.dumps({"w": np.zeros(2)})[:-2] + b")Rs.", "calls an array"),
    "state for a function": (
        of(named("numpy.core.multiarray", "_reconstruct") + b"}" + text("__code__") + b"Nsb"),
        "sets the state of a function",
    ),
    "state for a class": (of(named("numpy", "ndarray") + b"}b"), "sets the state of a function or class"),
    "state for a text": (of(text("x") + b"}b"), "sets the state of a str"),
    "ndarray called by itself": (of(named("numpy", "ndarray") + b"(K\x02tR"), "ndarray in a way"),
    "a subclass to reconstruct": (
        of(named("numpy.core.multiarray", "_reconstruct") + named("numpy", "matrix") + b")" + short(b"b") + b"\x87R"),
        "numpy.matrix",
    ),
    "encode with another codec": (
        of(named("_codecs", "encode") + text("x") + text("rot13") + b"\x86R"),
        "cut off or corrupt",
    ),
    "bytes of a huge length": (of(named("builtins", "bytes") + b"J\xff\xff\xff\x7f\x85R"), "bytes in a way"),
    "a set": (of(b"\x8f"), "EMPTY_SET"),
    "torch": (of(stacked("torch._utils", "_rebuild_tensor_v2") + b")R"), "torch._utils._rebuild_tensor_v2"),
    "collections.OrderedDict": (b"\x80\x04" + stacked("collections", "OrderedDict") + b")R.", "collections.Ordered"),
}


@pytest.fixture(scope="module")
def heard():
    """What the interpreter itself tells of imports, opened files, calls and processes, once `on` is set."""
    events: dict[str, list] = {"told": []}

    def hook(name, arguments):
        if "on" in events:
            events["told"].append((name, arguments))

    sys.addaudithook(hook)
    for protocol in range(6):  # so that the codecs which Python loads on first use are there
        pickled.loads(pickle.dumps(GOOD, protocol=protocol))
    return events


@pytest.mark.parametrize("title", CORPUS)
def test_it_is_refused_by_name_and_nothing_is_run(title, tmp_path, monkeypatch, heard):
    data, culprit = CORPUS[title]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hostile.pkl").write_bytes(data)
    heard["told"].clear()
    heard["on"] = []
    try:
        with pytest.raises(WeightsError) as caught:
            weights.load(tmp_path / "hostile.pkl")
    finally:
        del heard["on"]
    assert culprit in caught.value.message
    assert str(tmp_path / "hostile.pkl") in caught.value.message
    assert caught.value.hint
    assert not (tmp_path / "MARKER").exists()
    told = {name for name, _ in heard["told"]}
    assert "open" in told  # the hook does hear
    assert not told & {"exec", "compile", "import", "os.system", "subprocess.Popen", "pickle.find_class", "os.exec"}
    opened = {str(arguments[0]) for name, arguments in heard["told"] if name == "open"}
    assert opened == {str(tmp_path / "hostile.pkl")}


@pytest.mark.parametrize("title", ["os.system by global", "builtins.eval", "INST", "OBJ"])
def test_the_corpus_is_armed(title, tmp_path):
    """Python's own unpickler does run these: the tests above would see it."""
    data = CORPUS[title][0]
    code = "import pickle, sys\ntry: pickle.loads(sys.stdin.buffer.read())\nexcept Exception: pass"
    subprocess.run([sys.executable, "-c", code], input=data, cwd=tmp_path, check=True)
    assert (tmp_path / "MARKER").exists()


def test_a_hostile_entry_behind_good_ones_is_refused_as_well(tmp_path):
    data = pickle.dumps({**GOOD, "z": Calls(os.system, f"touch {tmp_path / 'MARKER'}")})
    assert "posix.system" in refused(data, tmp_path / "w.pkl").message
    assert not (tmp_path / "MARKER").exists()


def test_a_registered_extension_is_not_used(tmp_path):
    copyreg.add_extension("os", "getpid", 200)
    try:
        assert "EXT1" in refused(of(b"\x82\xc8"), tmp_path / "w.pkl").message
    finally:
        copyreg.remove_extension("os", "getpid", 200)


def test_a_second_pickle_behind_the_first_is_refused(tmp_path):
    data = pickle.dumps(GOOD) + pickle.dumps({"w": Calls(os.system, "true")})
    assert "after the end" in refused(data, tmp_path / "w.pkl").message


def test_a_name_that_would_confuse_a_terminal_is_shown_harmlessly(tmp_path):
    error = refused(of(named("os\x1b[2J", "system" + "m" * 5000) + b")R"), tmp_path / "w.pkl")
    assert "\x1b" not in error.message
    assert len(error.message) < 500


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([np.zeros(2)], "holds a list"),
        (np.zeros(2), "holds an array"),
        ({"w": 1.5}, "'w' is a float"),
        ({"w": "text"}, "'w' is a str"),
        ({"w": [1.0, 2.0]}, "'w' is a list"),
        ({"layer": {"w": np.zeros(2)}}, "'layer' is a dict"),
        ({1: np.zeros(2)}, "key is a int"),
        ({"w": np.array([None, "x"], dtype=object)}, "array of objects"),
        ({"w": np.zeros(2, dtype=[("a", "f4")])}, "array of records"),
        ({"w": np.zeros(2, dtype="M8[s]")}, "'M8'"),
        ({"w": np.zeros(2, dtype="V3")}, "'V3'"),
        ({"w": np.ma.zeros(2)}, "numpy.ma"),
        (None, "holds a NoneType"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_more_than_names_and_arrays_is_refused_with_what_it_is(value, told, protocol, tmp_path):
    assert told in refused(pickle.dumps(value, protocol=protocol), tmp_path / "w.pkl").message


def limited(data: bytes, path: Path) -> "subprocess.CompletedProcess[str]":
    """Load in a process that may not take more than 600 MB or 20 s."""
    path.write_bytes(data)
    code = (
        "import resource, sys; from pathlib import Path; from launcher import weights; from launcher.errors import *\n"
        "resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"
        "try: weights.load(Path(sys.argv[1]))\n"
        "except WeightsError as fault: print(fault)\n"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, env=environment, check=False
    )


def array_of(shape: bytes, raw: bytes, dtype: str = "f4") -> bytes:
    kind = named("numpy", "dtype") + b"(" + text(dtype) + b"\x89\x88tR" + b"(K\x03" + text("<")
    kind += b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
    made = named("numpy.core.multiarray", "_reconstruct") + named("numpy", "ndarray") + b"K\x00\x85" + short(b"b")
    return made + b"\x87R" + b"(K\x01" + shape + kind + b"\x89" + raw + b"tb"


HUGE = b"\x8a\x08" + struct.pack("<q", 2**62)
ENCODE = named("_codecs", "encode") + b"q\x01" + b"X" + struct.pack("<I", 2**20) + b"a" * 2**20 + b"q\x02"
BOMBS = {
    "a length beyond the file": of(b"\x8e" + struct.pack("<Q", 2**62) + b"x"),
    "a text length beyond the file": of(b"\x8d" + struct.pack("<Q", 2**63 - 1) + b"x"),
    "an integer beyond the file": of(b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x"),
    "a shape beyond memory": of(array_of(HUGE + b"\x85", short(b"1234"))),
    "a shape that multiplies to nothing": of(array_of(HUGE + HUGE + b"K\x00\x87", short(b""))),
    "a negative shape": of(array_of(b"J\xff\xff\xff\xff" + b"\x85", short(b"1234"))),
    "a shape of a hundred axes": of(array_of(b"(" + b"K\x01" * 100 + b"t", short(b"1234"))),
    "text a gigabyte wide": of(array_of(b"K\x00\x85", short(b""), "U999999999")),
    "one text encoded a hundred thousand times": b"\x80\x04}" + text("w") + ENCODE + text("latin1")
    + b"q\x03\x86R0" + b"h\x01h\x02h\x03\x86R0" * 100_000 + b"h\x02s.",
    "one array under a hundred thousand names": b"\x80\x04}" + text("a")
    + array_of(b"J" + struct.pack("<i", 2**18) + b"\x85", b"B" + struct.pack("<I", 2**20) + bytes(2**20)) + b"q\x09"
    + b"s" + b"".join(text(str(number)) + b"h\x09s" for number in range(100_000)) + b".",
    "lists of lists of lists": b"\x80\x04]"
    + b"".join(b"q%c](" % n + b"h%c" % n * 10 + b"e" for n in range(90)) + b".",
    "a tuple a million deep": b"\x80\x04)" + b"\x85" * 1_000_000 + b".",
    "instructions without end": b"\x80\x04" + b"N0" * 3_000_000 + b"}.",
}  # fmt: skip


TOLD = {
    "one text encoded a hundred thousand times": "repeats its bytes",
    "one array under a hundred thousand names": "share arrays",
    "instructions without end": "more than 2000000 instructions",
}


@pytest.mark.parametrize("title", BOMBS)
def test_a_bomb_is_refused_within_little_memory_and_time(title, tmp_path):
    ended = limited(BOMBS[title], tmp_path / "bomb.pkl")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "bomb.pkl: " in ended.stdout
    assert TOLD.get(title, "") in ended.stdout


@pytest.mark.parametrize("protocol", range(6))
def test_every_cut_off_pickle_is_refused(protocol):
    data = pickle.dumps(GOOD, protocol=protocol)
    for length in range(len(data)):
        with pytest.raises(WeightsError):
            pickled.loads(data[:length])


mutations = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6)


@settings(max_examples=400)
@given(st.integers(0, 5), mutations)
def test_a_damaged_pickle_gives_arrays_or_a_refusal(protocol, damage):
    data = bytearray(pickle.dumps(GOOD, protocol=protocol))
    for place, value in damage:
        data[int(place * len(data))] = value
    _arrays_or_refusal(bytes(data))


@settings(max_examples=400)
@given(st.binary(max_size=200))
def test_any_bytes_give_arrays_or_a_refusal(data):
    _arrays_or_refusal(data)
    _arrays_or_refusal(b"\x80\x04" + data + b".")


def _arrays_or_refusal(data: bytes) -> None:
    try:
        found = pickled.loads(data)
    except WeightsError:
        return
    assert all(isinstance(name, str) and isinstance(array, np.ndarray) for name, array in found.items())


def test_reading_leaves_nothing_behind():
    def count() -> int:
        gc.collect()
        return sum(isinstance(each, PendingArray) for each in gc.get_objects())

    pickled.loads(pickle.dumps(GOOD))
    assert count() == 0
