"""Uploads over real pipes to a real agent: what goes, what need not, what is told, and what is never half done."""

from __future__ import annotations

import errno
import os
import random
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.agent import store
from launcher.domain import TransferProgress
from launcher.errors import HostUnreachable, RemoteError, SpecError, TransferError
from launcher.sync import remote_agent
from launcher.sync.layout import RemoteLayout
from launcher.sync.local import ignore
from launcher.sync.local.memory import Memory
from launcher.sync.local.tree import Scan, scan
from launcher.sync.up import upload
from launcher.sync.up.reuse import find_reuse
from launcher.sync.up.upload import Transferred
from launcher.sync.wire.frames import Wire
from launcher.sync.wire.lanes import Lanes

Tree = dict[str, object]
MB = 10**6
MIB = 1 << 20


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


def look(root: Path) -> Scan:
    return scan(root, ignore=ignore.nothing())


def push(lines: Any, root: Path, remote_dir: str, report: Any = silent, memory: Memory | None = None) -> Transferred:
    return upload.push(lines, look(root), remote_dir, report, "code", memory=memory)


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def tree(root: Path) -> Tree:
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        name, info = str(path.relative_to(root)), path.lstat()
        if path.is_symlink():
            found[name] = path.readlink()
        else:
            found[name] = "folder" if path.is_dir() else (path.read_bytes(), info.st_mode, info.st_mtime_ns)
    return found


@pytest.fixture
def there(connection: Any, layout: RemoteLayout) -> Path:
    """The folder on the machine."""
    return Path(connection.home, layout.code)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The folder here."""
    root = tmp_path / "code"
    root.mkdir()
    return root


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "memory")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the machine: the operations of all requests, and each parcel."""
    found: list[str] = []
    send_json, send = Wire.send_json, Wire.send

    def noted_json(wire: Wire, value: Any) -> None:
        found.append(next(value[word] if word == "op" else word for word in value))
        send_json(wire, value)

    def noted(wire: Wire, kind: bytes, *payload: bytes) -> None:
        if kind not in {b"J", b"j"}:
            found.append("parcel")
        send(wire, kind, *payload)

    monkeypatch.setattr(Wire, "send_json", noted_json)
    monkeypatch.setattr(Wire, "send", noted)
    return found


# --- what goes, and what need not -----------------------------------------------------------------------------------


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


def one_percent(old: bytes) -> bytes:
    """One byte in each of 40 pages of 16 KiB, which is one percent of them."""
    new = bytearray(old)
    for page in random.Random(2).sample(range(len(old) >> 14), (len(old) >> 14) // 100):
        new[(page << 14) + 77] ^= 1
    return bytes(new)


@pytest.mark.parametrize(
    "case",
    [
        (one_percent, 64 * MIB, 3 * MIB),
        (lambda old: old + b"appended" * 1000, 16 * MIB, MIB),
        (lambda old: b"front" + old, 16 * MIB, MIB),
        (lambda old: old[:5_000_000] + b"middle" + old[5_000_000:], 16 * MIB, MIB),
        (lambda old: old[5:], 16 * MIB, MIB),
        (lambda old: old[: 9 * MIB + 3], 16 * MIB, MIB),
    ],
    ids=["in place", "appended", "put in front", "put in the middle", "cut off in front", "cut short"],
)
@pytest.mark.parametrize("remembers", [True, False])
def test_of_a_changed_file_only_what_is_new_goes(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, memory: Memory,
    case: tuple[Callable[[bytes], bytes], int, int], remembers: bool,
) -> None:  # fmt: skip
    edit, size, limit = case
    old = random.Random(1).randbytes(size)
    kept = memory if remembers else None
    fill(code, {"big": old})
    push(lines, code, layout.code, memory=kept)
    new = edit(old)
    fill(code, {"big": new})
    seen: list[TransferProgress] = []
    sent = push(lines, code, layout.code, seen.append, kept)
    assert (there / "big").read_bytes() == new
    assert tree(there) == tree(code)
    assert sent.sent_bytes < limit
    assert seen[-1].finished
    assert sent.reused_bytes > 0.9 * (len(new) - limit)


@pytest.mark.parametrize("rest", [0, 6 * MIB], ids=["directly", "lanes"])
def test_a_changed_file_that_is_not_there_as_it_seems_goes_whole(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, memory: Memory, rest: int
) -> None:
    old = bytearray(random.Random(1).randbytes(3 * MIB) + bytes(MIB))
    fill(code, {"big": bytes(old)})
    push(lines, code, layout.code, memory=memory)
    known = (there / "big").stat()
    (there / "big").write_bytes(b"x" * len(old))
    os.utime(there / "big", ns=(known.st_atime_ns, known.st_mtime_ns))
    old[MIB : 2 * MIB] = bytes(MIB)
    fill(code, {"big": bytes(old), "rest": os.urandom(rest)})
    if rest:
        os.link(code / "big", code / "linked")
    sent = push(lines, code, layout.code, memory=memory)
    assert tree(there) == tree(code)
    assert sent.changed == ()
    assert sent.sent_bytes > 2 * MIB
    fill(code, {"big": bytes(old) + b"more"})
    assert push(lines, code, layout.code, memory=memory).sent_bytes < MIB
    assert tree(there) == tree(code)


def test_holes_are_not_sent_and_stay_holes(code: Path, lines: Any, layout: RemoteLayout, there: Path) -> None:
    with (code / "sparse").open("wb") as file:
        file.truncate(300 * MIB)
        file.seek(200 * MIB)
        file.write(b"data")
    sent = push(lines, code, layout.code)
    assert sent.sent_bytes < 100_000
    assert (there / "sparse").stat().st_size == 300 * MIB
    assert (there / "sparse").stat().st_blocks * 512 < 3 * MIB
    with (there / "sparse").open("rb") as file:
        file.seek(200 * MIB)
        assert file.read(5) == b"data\0"


def test_what_lies_in_the_machine_s_store_is_not_sent(
    code: Path, connection: Any, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(code, {"train.npz": os.urandom(3 * MIB), "labels": os.urandom(100_000), "own": b"x" * 100})
    stored = connection.home / "gpurun/store"
    names = store.add([str(code)], str(stored))
    assert len(names) == 2
    sent = push(lines, code, layout.code)
    assert sent.size_bytes == 100
    assert sent.sent_bytes < 1000
    assert tree(there) == tree(code)
    # The job may write to its own.
    assert (there / "train.npz").stat().st_ino != (stored / names[0]).stat().st_ino


def test_a_store_that_lies_is_found_out(
    code: Path, connection: Any, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(code, {"train.npz": os.urandom(3 * MIB)})
    (name,) = store.add([str(code)], str(connection.home / "gpurun/store"))
    spoilt = connection.home / "gpurun/store" / name
    spoilt.chmod(0o644)
    with spoilt.open("r+b") as file:
        file.write(b"spoilt")
    push(lines, code, layout.code)
    assert tree(there) == tree(code)


def test_a_machine_without_zstd_takes_zlib(
    code: Path, connection: Any, lines: Any, layout: RemoteLayout, there: Path, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    if sys.version_info >= (3, 14):
        pytest.skip("this Python brings zstd itself")
    fill(tmp_path / "no libraries", {"libzstd.so.1": b"no library"})
    connection.environment["LD_LIBRARY_PATH"] = str(tmp_path / "no libraries")
    kinds: list[bytes] = []
    send = Wire.send

    def noted(wire: Wire, kind: bytes, *payload: bytes) -> None:
        kinds.append(kind)
        send(wire, kind, *payload)

    monkeypatch.setattr(Wire, "send", noted)
    fill(code, {"text": b"print()\n" * 10_000, "big": b"1,2,3\n" * 500_000, "noise": os.urandom(MIB)})
    sent = push(lines, code, layout.code)
    assert tree(there) == tree(code)
    assert set(kinds) - {b"J", b"j"} == {b"p", b"P"}
    assert sent.sent_bytes < 1.2 * MIB


def test_one_data_file(tmp_path: Path, connection: Any, lines: Any, layout: RemoteLayout) -> None:
    fill(tmp_path, {"train.csv": b"1,2\n" * 100_000})
    push(lines, tmp_path / "train.csv", layout.data)
    assert (connection.home / layout.data / "train.csv").read_bytes() == b"1,2\n" * 100_000


def test_many_empty_files_fit(code: Path, lines: Any, layout: RemoteLayout, there: Path) -> None:
    fill(code, {f"{n:03}" + "n" * 200: b"" for n in range(3000)})
    push(lines, code, layout.code)
    assert len(tree(there)) == 3000


# --- cuts -----------------------------------------------------------------------------------------------------------


def test_nothing_is_in_place_until_all_is_verified(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, tmp_path: Path
) -> None:
    old = fill(tmp_path / "old", {"a": b"old a", "z": b"old z"})
    push(lines, old, layout.code)
    fill(code, {"a": b"new a", "m": os.urandom(12 * MB), "z": b"new z"})
    before = tree(there)

    def interrupt(progress: TransferProgress) -> None:
        if progress.sent_bytes > 3 * MB:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(lines, code, layout.code, interrupt)
    assert tree(there) == before
    push(lines, code, layout.code)
    assert tree(there) == tree(code)


@pytest.mark.parametrize("name", ["one large", "many small"])
def test_another_process_goes_on_where_the_last_one_was_cut(
    code: Path, connection: Any, lines: Any, layout: RemoteLayout, there: Path, name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    size = 40 * MB
    many = {f"{n:03}": os.urandom(size // 200) for n in range(200)}
    fill(code, {"big": os.urandom(size)} if name == "one large" else many)
    seen: list[TransferProgress] = []

    def die(progress: TransferProgress) -> None:
        seen.append(progress)
        if progress.done_bytes > size // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(lines, code, layout.code, die)
    assert not there.exists()
    sent = push(lines, code, layout.code)
    assert tree(there) == tree(code)
    # All that was answered counts, and most of what was under way.
    assert sent.reused_bytes >= seen[-1].done_bytes - 600_000
    assert sent.sent_bytes < size - seen[-1].done_bytes + MB
    assert not list(there.parent.glob(".staging*"))


def test_a_resumed_delta_sends_only_what_lacks(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, memory: Memory
) -> None:
    old = os.urandom(48 * MIB)
    fill(code, {"big": old})
    push(lines, code, layout.code, memory=memory)
    fill(code, {"big": os.urandom(32 * MIB) + old[32 * MIB :]})
    seen: list[TransferProgress] = []

    def die(progress: TransferProgress) -> None:
        seen.append(progress)
        if progress.sent_bytes > 16 * MIB:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(lines, code, layout.code, die, memory)
    sent = push(lines, code, layout.code, memory=memory)
    assert tree(there) == tree(code)
    assert sent.sent_bytes < 20 * MIB


def test_a_stage_of_another_state_of_the_folder_is_no_harm(
    code: Path, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(
        code, {"a": b"1", "gone": b"2", "gone too/x": b"3", "kind": b"4", "folder/x": b"5", "big": os.urandom(12 * MB)}
    )

    def die(progress: TransferProgress) -> None:
        if progress.done_files:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(lines, code, layout.code, die)
    (code / "gone").unlink()
    shutil.rmtree(code / "gone too")
    (code / "kind").unlink()
    shutil.rmtree(code / "folder")
    fill(code, {"kind/inside": b"6", "folder": b"7", "a": b"changed"})
    push(lines, code, layout.code)
    assert tree(there) == tree(code)


def test_ctrl_c_ends_all_lanes(code: Path, lines: Any, connection: Any, layout: RemoteLayout) -> None:
    fill(code, {"big": os.urandom(20 * MB)})

    def interrupt(progress: TransferProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(lines, code, layout.code, interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gpurun-")]


# --- files that change ----------------------------------------------------------------------------------------------


def test_what_changed_since_the_scan_is_sent_as_it_is_then(
    code: Path, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(
        code,
        {"a": b"1" * 500, "b": b"2" * 500, "c": b"3", "same size": b"4", "big": b"5" * MIB, "big gone": b"6" * MIB},
    )
    fill(code, {"sub/gone": b"7", "to link": b"8", "to folder": b"9", "still": b"0"})
    os.utime(code / "same size", ns=(5, 5))
    scanned = look(code)
    fill(code, {"a": b"longer " * 500, "b": b"short", "same size": b"5", "big": b"6" * (MIB + 1)})
    for name in ("c", "big gone", "to link", "to folder"):
        (code / name).unlink()
    shutil.rmtree(code / "sub")
    (code / "to link").symlink_to("still")
    (code / "to folder").mkdir()
    sent = upload.push(lines, scanned, layout.code, silent, "code")
    changed = {"a", "b", "c", "same size", "big", "big gone", "sub/gone", "to link", "to folder"}
    assert set(sent.changed) == changed
    # What is no file any more is no part of the upload; its folder was, when it was looked at.
    expected = {name: tree(code)[name] for name in ("a", "b", "same size", "big", "still")}
    assert tree(there) == {**expected, "sub": "folder"}
    (code / "sub").mkdir()
    push(lines, code, layout.code)
    assert tree(there) == tree(code)


def test_what_vanished_is_told_also_where_much_is_there(
    code: Path, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(code, {"big": os.urandom(2 * MIB), "small": os.urandom(5000), "twin": os.urandom(MIB), "still": b"0"})
    push(lines, code, layout.code)
    for name in ("big", "small", "twin"):
        os.utime(code / name)
    shutil.copyfile(code / "twin", code / "twin 2")
    scanned = look(code)
    for name in ("big", "small", "twin", "twin 2"):
        (code / name).unlink()
    sent = upload.push(lines, scanned, layout.code, silent, "code")
    assert set(sent.changed) == {"big", "small", "twin", "twin 2"}
    assert tree(there) == tree(code)


def writes_between_look_and_read(path: Path, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """Another thread appends to a file each time that it is known how it is to be sent."""
    looked = find_reuse
    left = iter(range(times))

    def append() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    def found(*arguments: Any) -> Any:
        reuse = looked(*arguments)
        if next(left, None) is not None:
            thread = threading.Thread(target=append)
            thread.start()
            thread.join()
        return reuse

    monkeypatch.setattr(upload, "find_reuse", found)


@pytest.mark.parametrize("size", [100_000, 5 * MIB])
def test_a_file_that_grows_while_it_is_read_is_told(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    fill(code, {"log": os.urandom(size), "z": b"z"})
    (code / "z linked").hardlink_to(code / "log")
    push(lines, code, layout.code)
    fill(code, {"log": os.urandom(size)})  # and so what is linked to it; as long as what lies there
    scanned = look(code)
    writes_between_look_and_read(code / "log", monkeypatch, times=1)
    sent = upload.push(lines, scanned, layout.code, silent, "code")
    assert sent.changed == ("log",)
    assert tree(there) == tree(code)


@pytest.mark.parametrize("size", [100_000, 5 * MIB])
def test_a_file_that_never_holds_still_is_told(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    fill(code, {"busy.log": os.urandom(size), "other": b"1"})
    scanned = look(code)
    with monkeypatch.context() as patch:
        writes_between_look_and_read(code / "busy.log", patch, times=10)
        with pytest.raises(TransferError, match=r"busy\.log changes while it is read") as caught:
            upload.push(lines, scanned, layout.code, silent, "code")
    assert ".gpurunignore" in caught.value.hint
    assert not there.exists()
    push(lines, code, layout.code)
    assert tree(there) == tree(code)


@pytest.mark.parametrize("size", [10, 5000, 5 * MIB])
def test_a_file_that_cannot_be_read_is_told(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    fill(code, {"a": b"1" * size, "z": b"3"})
    push(lines, code, layout.code)
    before = tree(there)
    fill(code, {"a": b"2" * size, "secret": b"2" * size, "z": b"4"})
    scanned = look(code)
    (code / "secret").chmod(0)
    if os.geteuid() == 0:  # whom no mode stops
        original = os.open

        def open_but_one(path: Any, *arguments: Any, **named: Any) -> int:
            if str(path).endswith("/secret"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return original(path, *arguments, **named)

        monkeypatch.setattr(os, "open", open_but_one)
    with pytest.raises(SpecError, match="secret cannot be read: Permission denied") as caught:
        upload.push(lines, scanned, layout.code, silent, "code")
    assert "chmod u+rX" in caught.value.hint
    assert tree(there) == before


# --- the machine's disk, its user's rights, its job -----------------------------------------------------------------


def test_too_small_a_disk_there_is_told_before_anything_is_sent(
    code: Path, lines: Any, layout: RemoteLayout, connection: Any, asked: list[str]
) -> None:
    fill(code, {"huge": b"x"})
    scanned = look(code)
    free = shutil.disk_usage(connection.home).free
    huge = Scan(root=scanned.root, items=(scanned.items[0]._replace(size_bytes=free * 2),), skipped=())
    with pytest.raises(TransferError, match=r"disk is too small: \d+ MB are to go up, \d+ MB are free") as caught:
        upload.push(lines, huge, layout.code, silent, "code")
    assert "resources.disk" in caught.value.hint
    assert asked == ["state"]


@pytest.mark.parametrize("size", [8 * MB, 40_000])
def test_a_file_too_large_for_the_machine_is_told_and_does_not_hang(
    code: Path,
    connection: Any,
    lines: Any,
    layout: RemoteLayout,
    there: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    fill(code, {"a": b"fits", "big": os.urandom(size), "z": os.urandom(size)})
    original = connection.open

    def narrow(command: str) -> Any:
        stream = original(command)
        resource.prlimit(stream.process.pid, resource.RLIMIT_FSIZE, (30_000, 30_000))
        return stream

    push(lines, fill(code.parent / "warm", {"x": b""}), RemoteLayout("warm").code)
    connection.idle.clear()
    with monkeypatch.context() as patch:
        patch.setattr(connection, "open", narrow)
        with pytest.raises(TransferError, match=r"on the machine: .*File too large.* MB are free") as caught:
            push(lines, code, layout.code)
    assert "df -h" in caught.value.hint
    assert not there.exists()
    connection.idle.clear()
    push(lines, code, layout.code)
    assert tree(there) == tree(code)


@pytest.fixture
def small_disk(connection: Any) -> Iterator[Path]:
    """The machine's home on a disk of 48 MiB of its own; gives the way to it from here."""
    command = 'mount -t tmpfs -o size=48m tmpfs "$HOME" && echo mounted && exec cat'
    try:
        holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "bash", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=connection.environment,
        )
    except FileNotFoundError:
        pytest.skip("no unshare(1) on this machine")
    with holder:
        assert holder.stdin
        assert holder.stdout
        if holder.stdout.readline() != b"mounted\n":
            pytest.skip("no disk of its own can be made for the machine: that takes root")
        original = connection.open
        connection.open = lambda command: original(f"exec nsenter -t {holder.pid} -m -- bash -c {shlex.quote(command)}")
        yield Path(f"/proc/{holder.pid}/root{connection.home}")
        connection.close()
        holder.stdin.close()


@pytest.mark.namespaces
@pytest.mark.parametrize("names", [["one"], [f"{n:03}" for n in range(100)]], ids=["one large", "many small"])
def test_a_disk_that_fills_up_is_told_and_the_next_upload_goes_on(
    code: Path, lines: Any, layout: RemoteLayout, small_disk: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    fill(code, {name: os.urandom(20 * MB // len(names)) for name in names})
    there, filler, run = small_disk / layout.code, small_disk / "by someone else", Lanes.run

    def fill_up(lanes: Any, tick: Any) -> None:
        filler.write_bytes(bytes(35 * MB))
        run(lanes, tick)

    with monkeypatch.context() as patch:
        patch.setattr(Lanes, "run", fill_up)
        with pytest.raises(TransferError, match=r"No space left .*20\.\d MB .*, \d+\.\d MB are free") as caught:
            push(lines, code, layout.code)
    assert "df -h" in caught.value.hint
    assert not there.exists()
    with pytest.raises(TransferError, match="disk is too small"):
        push(lines, code, layout.code)
    filler.unlink()
    sent = push(lines, code, layout.code)
    assert tree(there) == tree(code)
    assert sent.reused_bytes > 5 * MB


@pytest.fixture
def nobody(connection: Any) -> Iterator[Path]:
    """The machine's user is none of note; gives his home, which he may use."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("to become another user takes root and setpriv(1)")
    home = Path(tempfile.mkdtemp(prefix="gpurun-test-"))
    home.chmod(0o755)
    (home / "gpurun").mkdir()
    for path in (home, home / "gpurun"):
        os.chown(path, 65534, 65534)
    original, connection.home = connection.open, home
    connection.environment |= {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    command = "setpriv --reuid 65534 --regid 65534 --clear-groups bash -c"
    connection.open = lambda shell: original(f"exec {command} {shlex.quote(shell)}")
    if connection.run("python3 -c 'import os; print(os.geteuid())'").stdout != b"65534\n":
        pytest.skip("the system's python3 is not for everybody")
    yield home
    connection.close()
    shutil.rmtree(home)


def test_modes_that_keep_their_owner_out_are_no_obstacle(
    code: Path, lines: Any, layout: RemoteLayout, nobody: Path
) -> None:
    there = nobody / layout.code
    fill(code, {"a": b"1", "d/b": b"2", "big": os.urandom(MIB), "big renamed": os.urandom(MIB), "kept": b"3"})
    for path in (code / "a", code / "d/b", code / "big", code / "big renamed"):
        path.chmod(0o444)
    (code / "d").chmod(0o555)
    push(lines, code, layout.code)
    for name in ("a", "d/b", "big"):
        (code / name).chmod(0o644)
        (code / name).write_bytes((code / name).read_bytes() + b"more")
        (code / name).chmod(0o400)
    (code / "big renamed").rename(code / "renamed")
    push(lines, code, layout.code)
    (code / "d").chmod(0o755)  # its owner is always let in
    assert tree(there) == tree(code)


def test_a_permission_that_lacks_is_told(code: Path, lines: Any, layout: RemoteLayout, nobody: Path) -> None:
    fill(code, {"a": b"1"})
    push(lines, code, RemoteLayout("other").code)
    (nobody / layout.home).mkdir()  # root's
    with pytest.raises(TransferError, match=r"on the machine: .*Permission denied"):
        push(lines, code, layout.code)
    assert not [*(nobody / layout.home).iterdir()]
    os.chown(nobody / layout.home, 65534, 65534)
    push(lines, code, layout.code)
    assert tree(nobody / layout.code) == tree(code)


def test_a_file_in_the_folder_s_place_is_told(code: Path, lines: Any, layout: RemoteLayout, there: Path) -> None:
    fill(code, {"a": b"1"})
    there.parent.parent.mkdir(parents=True)
    there.parent.write_text("a file where the run's folder should be")
    with pytest.raises(TransferError, match=r"on the machine: .*(Not a directory|File exists)"):
        push(lines, code, layout.code)
    assert there.parent.read_text().startswith("a file")


def test_under_a_running_job_nothing_changes(
    code: Path, connection: Any, lines: Any, layout: RemoteLayout, there: Path, job: Any,
    eventually: Callable[[Callable[[], bool]], None],
) -> None:  # fmt: skip
    fill(code, {"train.py": b"print()"})
    push(lines, code, layout.code)
    remote_agent.start(connection, layout, job("exec sleep 100"))
    try:
        push(lines, code, layout.code)
        before = tree(there)
        fill(code, {"train.py": b"print('other')", "big": os.urandom(6 * MB)})
        with pytest.raises(TransferError, match="the job is running in the folder"):
            push(lines, code, layout.code)
        (code / "big").unlink()
        with pytest.raises(TransferError, match="the job is running in the folder"):
            push(lines, code, layout.code)
        assert tree(there) == before
    finally:
        remote_agent.signal(connection, layout, "KILL")
    eventually(lambda: remote_agent.report(connection, layout).state == "done")
    push(lines, code, layout.code)
    assert tree(there) == tree(code)


@pytest.mark.parametrize("size", [50, 6 * MB])
def test_two_uploads_at_once_end_as_one_of_them(
    tmp_path: Path, connection: Any, lines: Any, layout: RemoteLayout, there: Path, size: int
) -> None:
    """Of the same names and sizes."""
    trees = []
    for name, time_ns in (("one", 7), ("other", 9)):
        root = fill(tmp_path / name, {f"{n}": name[0].encode() * (size // 10) + os.urandom(size) for n in range(4)})
        root.joinpath("only in " + name).touch()
        for path in root.iterdir():
            os.utime(path, ns=(time_ns, time_ns))
        trees.append(root)
    second = type(lines)(type(connection)(home=connection.home, environment=connection.environment))
    expected = [tree(root) for root in trees]
    try:
        for _ in range(8):
            errors: list[RemoteError] = []

            def attempt(which: Any, root: Path, errors: list[RemoteError] = errors) -> None:
                try:
                    push(which, root, layout.code)
                except RemoteError as told:
                    errors.append(told)

            threads = [threading.Thread(target=attempt, args=pair) for pair in zip((lines, second), trees, strict=True)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert (tree(there) if there.exists() else {}) in ([{}, *expected] if len(errors) == 2 else expected)
            assert all(error.message.isprintable() for error in errors)
        push(lines, trees[0], layout.code)
        assert tree(there) == expected[0]
    finally:
        second.close()
        second.control.connection.close()


def test_a_line_that_is_dead_is_told_and_another_upload_goes_on(
    code: Path, connection: Any, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(code, {"a": b"1"})
    push(lines, code, layout.code)
    fill(code, {"a": b"2"})
    for stream in connection.idle:
        stream.cut()
        stream.alive = lambda: True
    with pytest.raises(HostUnreachable):
        push(lines, code, layout.code)
    push(lines, code, layout.code)
    assert tree(there) == tree(code)
