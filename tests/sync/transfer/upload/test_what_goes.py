"""Uploads over real pipes to a real agent: which files go, which need not, and what lies there then."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

from launcher.domain import TransferProgress
from launcher.sync.layout import RemoteLayout
from launcher.sync.local.memory import Memory

from .pushing import MB, MIB, fill, push, tree


def test_a_tree_arrives_as_it_is(code: Path, lines: Any, layout: RemoteLayout, there: Path) -> None:
    fill(code, {"train.py": b"print()\n", "p/a b.txt": b"x" * 700_000, "p/q/same": b"print()\n", "empty file": b""})
    (code / "train.py").chmod(0o755)
    (code / "readonly").write_bytes(b"r")
    (code / "readonly").chmod(0o400)
    (code / "empty").mkdir()
    (code / "p/link").symlink_to("../train.py")
    (code / os.fsdecode(b"caf\xe9\n")).write_bytes(os.urandom(300_000))
    seen: list[TransferProgress] = []
    sent = push(lines, code, layout.code, seen.append)
    assert tree(there) == tree(code)
    assert (sent.files, sent.size_bytes, sent.reused_bytes) == (6, 1_000_017, 0)
    # What shrinks goes up small.
    assert 300_000 < sent.sent_bytes < 320_000
    assert seen[-1].finished
    assert (seen[-1].done_bytes, seen[-1].total_files, seen[-1].sent_bytes) == (1_000_017, 6, sent.sent_bytes)
    assert not list(there.parent.glob(".staging*"))


def test_only_what_changed_goes_up_again(code: Path, lines: Any, layout: RemoteLayout, there: Path) -> None:
    fill(code, {"a": b"1", "b": b"2", "gone/c": b"3", "kind": b"file", "mode": b"m"})
    push(lines, code, layout.code)
    fill(there, {"made_by_the_job.npz": b"keep me", "gone/by_the_job": b"me too"})
    fill(code, {"b": b"22"})
    shutil.rmtree(code / "gone")
    (code / "kind").unlink()
    fill(code, {"kind/inside": b"folder now"})
    (code / "mode").chmod(0o700)
    sent = push(lines, code, layout.code)
    assert sent.files == 2
    left = tree(there)
    assert left.pop("made_by_the_job.npz")[0] == b"keep me"  # type: ignore[index]
    assert left.pop("gone/by_the_job")[0] == b"me too"  # type: ignore[index]
    assert left.pop("gone") == "folder"
    assert left == tree(code)


def test_what_the_job_removed_or_wrote_over_comes_back(
    code: Path, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(code, {"a": b"1", "b": b"2", "d/c": b"3", "gone/x": b"4", "z": b"5"})
    push(lines, code, layout.code)
    (there / "a").write_bytes(b"other")
    (there / "z").chmod(0o600)
    shutil.rmtree(there / "d")
    shutil.rmtree(there / "gone")
    shutil.rmtree(code / "gone")
    push(lines, code, layout.code)
    assert tree(there) == tree(code)


def test_a_folder_that_the_job_made_a_link_is_one_again(
    code: Path, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(code, {"d/x": b"1"})
    push(lines, code, layout.code)
    (there / "d").rename(there.parent / "moved away")
    (there / "d").symlink_to(there.parent / "moved away")
    push(lines, code, layout.code)
    assert tree(there) == tree(code)
    assert (there.parent / "moved away/x").read_bytes() == b"1"


def test_nothing_changed_is_one_request(
    code: Path, connection: Any, lines: Any, layout: RemoteLayout, there: Path, asked: list[str]
) -> None:
    fill(code, {f"{n % 20}/{n}.py": b"import this\n" * n for n in range(500)})
    push(lines, code, layout.code)
    asked.clear()
    sessions = len(connection.commands)
    seen: list[TransferProgress] = []
    sent = push(lines, code, layout.code, seen.append)
    assert asked == ["state"]
    assert len(connection.commands) == sessions == 1
    assert not lines.bulks
    assert (sent.files, sent.sent_bytes) == (0, 0)
    assert seen[-1].finished
    (code / "0/0.py").write_bytes(b"new")
    asked.clear()
    push(lines, code, layout.code)
    assert asked[:2] == ["state", "entries"]
    assert asked[2:] == ["take", "parcel", "end", "commit"]


def test_an_empty_folder_is_pushed_once(code: Path, lines: Any, layout: RemoteLayout, there: Path, asked: Any) -> None:
    push(lines, code, layout.code)
    assert there.is_dir()
    asked.clear()
    push(lines, code, layout.code)
    assert asked == ["state"]


def test_what_is_remembered_need_not_be_asked_for(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, asked: list[str], tmp_path: Path
) -> None:
    fill(code, {"a": b"1", "b": b"2"})
    push(lines, code, layout.code, memory=Memory(tmp_path / "memory"))
    fill(code, {"b": b"22"})
    asked.clear()
    push(lines, code, layout.code, memory=Memory(tmp_path / "memory"))
    assert "entries" not in asked
    (there / "a").write_bytes(b"by the job")
    asked.clear()
    push(lines, code, layout.code, memory=Memory(tmp_path / "memory"))
    assert "entries" in asked
    assert tree(there) == tree(code)


def test_a_renamed_file_costs_no_bytes(code: Path, lines: Any, layout: RemoteLayout, there: Path) -> None:
    fill(code, {"weights": random.Random(1).randbytes(100 * MB)})
    push(lines, code, layout.code)
    (code / "sub").mkdir()
    (code / "weights").rename(code / "sub/under another name")
    inode = (there / "weights").stat().st_ino
    sent = push(lines, code, layout.code)
    assert sent.sent_bytes < 100_000
    assert sent.reused_bytes == 100 * MB
    assert tree(there) == tree(code)
    assert (there / "sub/under another name").stat().st_ino == inode


def test_copies_links_and_touched_files_cost_no_bytes(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, memory: Memory
) -> None:
    fill(code, {"weights": os.urandom(2 * MIB + 7), "small": os.urandom(50_000), "touched": os.urandom(MIB)})
    push(lines, code, layout.code, memory=memory)
    shutil.copyfile(code / "weights", code / "copy")
    shutil.copyfile(code / "small", code / "small copy")
    (code / "linked").hardlink_to(code / "weights")
    os.utime(code / "touched", ns=(5, 5))
    (code / "small").chmod(0o600)
    sent = push(lines, code, layout.code, memory=memory)
    assert (sent.files, sent.size_bytes) == (0, 0)
    assert sent.sent_bytes < 1000
    assert tree(there) == tree(code)


def test_one_content_under_several_new_names_goes_once(
    code: Path, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(code, {"a": os.urandom(2 * MIB), "b": os.urandom(100_000)})
    (code / "linked").hardlink_to(code / "a")
    (code / "small, linked").hardlink_to(code / "b")
    shutil.copyfile(code / "a", code / "copy")
    sent = push(lines, code, layout.code)
    assert sent.size_bytes == 2 * MIB + 100_000
    assert tree(there) == tree(code)


def test_a_name_that_gave_its_content_away_has_a_new_one(
    code: Path, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(code, {"a": os.urandom(50_000), "b": os.urandom(50_000)})
    push(lines, code, layout.code)
    (code / "a").rename(code / "c")
    (code / "b").rename(code / "a")
    fill(code, {"b": os.urandom(50_000)})
    sent = push(lines, code, layout.code)
    assert sent.size_bytes == 50_000
    assert tree(there) == tree(code)


def test_one_data_file(tmp_path: Path, connection: Any, lines: Any, layout: RemoteLayout) -> None:
    fill(tmp_path, {"train.csv": b"1,2\n" * 100_000})
    push(lines, tmp_path / "train.csv", layout.data)
    assert (connection.home / layout.data / "train.csv").read_bytes() == b"1,2\n" * 100_000


def test_many_empty_files_fit(code: Path, lines: Any, layout: RemoteLayout, there: Path) -> None:
    fill(code, {f"{n:03}" + "n" * 200: b"" for n in range(3000)})
    push(lines, code, layout.code)
    assert len(tree(there)) == 3000
