from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from launcher.errors import SpecError
from launcher.sync.local import ignore, tree
from launcher.sync.local.tree import Item


def scan(root: Path) -> tree.Scan:
    return tree.scan(root, ignore=ignore.nothing())


def test_a_tree_is_listed_sorted_with_what_it_takes_to_compare(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir(mode=0o555)
    (tmp_path / "b").chmod(0o755)
    (tmp_path / "b" / "x.bin").write_bytes(b"\0" * 300_000)
    (tmp_path / "b").chmod(0o555)
    (tmp_path / "b.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("b/x.bin")
    (tmp_path / "b.txt").chmod(0o4750)
    os.link(tmp_path / "b.txt", tmp_path / "same")
    scanned = scan(tmp_path)
    (tmp_path / "b").chmod(0o755)
    big, text = (tmp_path / "b" / "x.bin").stat(), (tmp_path / "b.txt").stat()
    inode = (text.st_dev, text.st_ino)
    assert scanned.items == (
        Item("b", "d", 0, 0, 0o755, "", None),
        Item("b.txt", "f", 5, text.st_mtime_ns, 0o750, "", inode),
        Item("b/x.bin", "f", 300_000, big.st_mtime_ns, big.st_mode & 0o777, "", (big.st_dev, big.st_ino)),
        Item("empty", "d", 0, 0, 0o755, "", None),
        Item("link", "l", 0, 0, 0, "b/x.bin", None),
        Item("same", "f", 5, text.st_mtime_ns, 0o750, "", inode),
    )
    assert all(type(item) is Item for item in scanned.items)
    assert scanned.size_bytes == 300_010
    assert scanned.root == Path(os.path.realpath(tmp_path))


def test_one_file_is_a_tree_of_one(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("1,2\n")
    (tmp_path / "other").write_text("")
    found = scan(tmp_path / "train.csv")
    assert [(item.name, item.size_bytes) for item in found.items] == [("train.csv", 4)]
    assert found.root == tmp_path.resolve()


def test_names_are_bytes(tmp_path: Path) -> None:
    names = [b"caf\xe9", b"new\nline", b"-rf", "ünï".encode(), "ünï".encode(), b"'\"", b" ", b"\\", b"\x01"]
    for name in names:
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_text("x")
    assert {os.fsencode(item.name) for item in scan(tmp_path).items} == set(names)


def test_links_out_and_special_files_are_left_out_and_told(tmp_path: Path) -> None:
    tree_top = tmp_path / "tree"
    (tree_top / "sub").mkdir(parents=True)
    (tree_top / "in.txt").write_text("x")
    (tree_top / "sub" / "absolute").symlink_to(tree_top / "in.txt")
    (tree_top / "sub" / "top").symlink_to(tree_top)
    (tree_top / "out").symlink_to("/etc/passwd")
    (tree_top / "up").symlink_to("../elsewhere")
    (tree_top / "beside").symlink_to(tmp_path / "tree2")
    (tree_top / "to nothing").symlink_to("nothing")
    os.mkfifo(tree_top / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        # A socket's path may not exceed 107 bytes, which tmp_path can.
        here = Path.cwd()
        os.chdir(tree_top)
        try:
            listener.bind("sock")
        finally:
            os.chdir(here)
        found = scan(tree_top)
    told = dict(found.skipped)
    assert set(told) == {"out", "up", "beside", "pipe", "sock"}
    assert told["out"] == "is a link to /etc/passwd, which leads out of the folder"
    assert (told["pipe"], told["sock"]) == ("is a named pipe", "is a socket")
    targets = {item.name: item.link_target for item in found.items}
    assert targets == {"in.txt": "", "sub": "", "sub/absolute": "../in.txt", "sub/top": "..", "to nothing": "nothing"}


def test_links_in_a_circle_end_nowhere_and_hold_nothing_up(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "absolute").symlink_to(tmp_path / "absolute")
    targets = {item.name: item.link_target for item in scan(tmp_path).items}
    assert targets == {"sub": "", "sub/up": "..", "self": "self", "absolute": "absolute"}
    with pytest.raises(SpecError, match="self cannot be read: Too many levels"):
        scan(tmp_path / "self")


def test_a_link_to_the_folder_is_the_folder(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "x").write_text("")
    (tmp_path / "link").symlink_to("tree")
    assert [item.name for item in scan(tmp_path / "link").items] == ["x"]


def test_a_tree_may_be_deeper_than_python_s_stack(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 200
    # Short names: the whole path may not exceed 4096 bytes.
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        folders = [Path(made + "/d" * (number + 1)) for number in range(depth)]
        for folder in folders:
            folder.mkdir()
        assert len(scan(Path(made)).items) == depth
        # The standard library's own removal would recurse.
        for folder in reversed(folders):
            folder.rmdir()


def test_a_missing_path_names_itself(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nowhere does not exist") as caught:
        scan(tmp_path / "nowhere")
    assert caught.value.hint


def test_what_vanishes_meanwhile_was_not_there(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("")

    class Vanishing(ignore.Rules):
        def enter(self, folder: object, prefix: str, present: object) -> ignore.Rules:
            if prefix == "c/":
                (tmp_path / "c" / "x").unlink()
                (tmp_path / "b" / "x").unlink()
                (tmp_path / "b").rmdir()
            return self

    found = tree.scan(tmp_path, ignore=Vanishing())
    assert [item.name for item in found.items] == ["a", "a/x", "c"]


PROGRAM = """
import os, pathlib, sys
from launcher.errors import SpecError
from launcher.sync.local import ignore, tree
if os.geteuid() == 0:
    os.setuid(65534)
try:
    tree.scan(pathlib.Path(sys.argv[1]), ignore=ignore.nothing())
except SpecError as error:
    print(error.message, "|", error.hint)
"""


@pytest.mark.parametrize("kind", ["folder", "file", "single"])
def test_what_cannot_be_read_is_told_with_the_cure(kind: str) -> None:
    # Not below tmp_path: pytest's own folder is closed to the user that root becomes here.
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        shut = Path(made) / "shut"
        shut.mkdir() if kind == "folder" else shut.write_text("x")
        shut.chmod(0)
        asked = shut if kind == "single" else made
        told = subprocess.check_output([sys.executable, "-c", PROGRAM, asked], text=True)
        shut.chmod(0o755)
    assert "shut cannot be read: Permission denied | chmod u+rX" in told
