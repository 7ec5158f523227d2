from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.domain import FileEntry, FileKind, Manifest
from launcher.errors import SpecError, TransferError
from launcher.sync import ignore, manifest


def scan(root: Path) -> manifest.Scan:
    return manifest.scan(root, ignore=ignore.nothing())


def test_a_tree_is_listed_sorted_with_hashes(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.bin").write_bytes(b"\0" * 300_000)
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("b/x.bin")
    (tmp_path / "a.txt").chmod(0o750)
    found = scan(tmp_path).manifest
    assert [(entry.name, entry.kind) for entry in found.entries] == [
        ("a.txt", FileKind.FILE),
        ("b", FileKind.DIRECTORY),
        ("b/x.bin", FileKind.FILE),
        ("empty", FileKind.DIRECTORY),
        ("link", FileKind.SYMLINK),
    ]
    first = found.entries[0]
    assert (first.sha256, first.mode) == (hashlib.sha256(b"hello").hexdigest(), 0o750)
    assert first.mtime_ns == (tmp_path / "a.txt").stat().st_mtime_ns
    assert found.entries[4].link_target == "b/x.bin"
    assert found.size_bytes == 300_005


def test_one_file_is_a_tree_of_one(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("1,2\n")
    (tmp_path / "other").write_text("")
    found = scan(tmp_path / "train.csv")
    assert [entry.name for entry in found.manifest.entries] == ["train.csv"]
    assert found.root == tmp_path.resolve()


def test_names_are_bytes(tmp_path: Path) -> None:
    names = [b"caf\xe9", b"new\nline", b"-rf", "ünï".encode()]
    for name in names:
        (Path(os.fsdecode(bytes(tmp_path) + b"/" + name))).write_text("x")
    assert {os.fsencode(entry.name) for entry in scan(tmp_path).manifest.entries} == set(names)


def test_links_out_and_special_files_are_left_out_and_told(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "in.txt").write_text("x")
    (tree / "sub" / "absolute").symlink_to(tree / "in.txt")
    (tree / "out").symlink_to("/etc/passwd")
    (tree / "up").symlink_to("../elsewhere")
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        # A socket's path may not exceed 107 bytes, which tmp_path can.
        here = Path.cwd()
        os.chdir(tree)
        try:
            listener.bind("sock")
        finally:
            os.chdir(here)
        found = scan(tree)
    assert {name for name, _ in found.skipped} == {"out", "up", "pipe", "sock"}
    assert "leads out" in dict(found.skipped)["out"]
    entries = {entry.name: entry for entry in found.manifest.entries}
    assert set(entries) == {"in.txt", "sub", "sub/absolute"}
    assert entries["sub/absolute"].link_target == "../in.txt"


def test_a_missing_path_names_itself(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nowhere does not exist") as caught:
        scan(tmp_path / "nowhere")
    assert caught.value.hint


PROGRAM = """
import os, pathlib, sys
from launcher.errors import SpecError
from launcher.sync import ignore, manifest
if os.geteuid() == 0:
    os.setuid(65534)
try:
    manifest.scan(pathlib.Path(sys.argv[1]), ignore=ignore.nothing())
except SpecError as error:
    print(error.message, "|", error.hint)
"""


@pytest.mark.parametrize("folder", [True, False])
def test_what_cannot_be_read_is_told_with_the_cure(*, folder: bool) -> None:
    # Not below tmp_path: pytest's own folder is closed to the user that root becomes here.
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        shut = Path(made) / "shut"
        shut.mkdir() if folder else shut.write_text("x")
        shut.chmod(0)
        told = subprocess.check_output([sys.executable, "-c", PROGRAM, made], text=True)
        shut.chmod(0o755)
    assert "shut cannot be read: Permission denied | chmod u+rX" in told


def test_thousands_of_small_files_are_hashed_in_a_moment(tmp_path: Path) -> None:
    for folder in range(20):
        (tmp_path / str(folder)).mkdir()
        for number in range(100):
            (tmp_path / str(folder) / str(number)).write_bytes(b"%d" % number)
    began = time.monotonic()
    assert len(scan(tmp_path).manifest.entries) == 2_020
    assert time.monotonic() - began < 5


ENTRIES = st.builds(
    FileEntry,
    name=st.text(min_size=1, max_size=20),
    kind=st.sampled_from(FileKind),
    size_bytes=st.integers(-1, 1 << 60),
    mode=st.integers(0, 0o7777),
    mtime_ns=st.integers(),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    link_target=st.text(max_size=10),
)


@given(st.lists(ENTRIES, max_size=5))
def test_a_manifest_survives_the_journey_or_is_refused(entries: list[FileEntry]) -> None:
    try:
        back = manifest.from_json([manifest.to_json(entry) for entry in entries])
    except TransferError:
        return
    assert {entry.name for entry in back.entries} == {entry.name for entry in entries}
    for entry in back.entries:
        assert entry.mode <= 0o777
        assert entry.size_bytes >= 0


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_nonsense_is_refused_in_our_own_words(value: object) -> None:
    if value in ([], {}, ""):
        assert manifest.from_json(value) == Manifest(entries=())
        return
    with pytest.raises(TransferError, match="the machine sent"):
        manifest.from_json(value)
