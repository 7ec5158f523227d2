from __future__ import annotations

import os
import random
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.domain import TransferProgress
from launcher.errors import HostUnreachable, TransferError
from launcher.ports import Connection
from launcher.sync import ignore, manifest, upload
from launcher.sync.layout import RemoteLayout
from launcher.sync.upload import Transferred

TreeDict = dict[str, bytes]


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


def push(connection: Connection, root: Path, remote_dir: str, report: Any = silent) -> Transferred:
    return upload.push(connection, manifest.scan(root, ignore=ignore.nothing()), remote_dir, report, "code")


def fill(root: Path, files: TreeDict) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def tree(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = path.readlink()
        else:
            found[name] = "folder" if path.is_dir() else (path.read_bytes(), path.stat().st_mode)
    return found


@pytest.fixture
def there(connection: Any, layout: RemoteLayout) -> Path:
    return connection.home / layout.code


def test_a_tree_arrives_as_it_is(tmp_path: Path, connection: Any, layout: RemoteLayout, there: Path) -> None:
    root = fill(tmp_path / "code", {"train.py": b"print()\n", "p/a b.txt": b"x" * 700_000, "p/q/same": b"print()\n"})
    (root / "train.py").chmod(0o755)
    (root / "empty").mkdir()
    (root / "p/link").symlink_to("../train.py")
    (root / os.fsdecode(b"caf\xe9\n")).write_bytes(os.urandom(300_000))
    seen: list[TransferProgress] = []
    sent = push(connection, root, layout.code, seen.append)
    assert tree(there) == tree(root)
    assert (there / "train.py").stat().st_mtime_ns == (root / "train.py").stat().st_mtime_ns
    # Each content goes up once, however many files have it, and what shrinks goes up small.
    assert (sent.files, sent.size_bytes) == (3, 1_000_008)
    assert 300_000 < sent.sent_bytes < 320_000
    assert seen[-1] == TransferProgress(
        label="code", done_bytes=1_000_008, total_bytes=1_000_008, done_files=3, total_files=3
    )
    assert not list(there.parent.glob(".staging*"))


def test_only_what_changed_goes_up_again(tmp_path: Path, connection: Any, layout: RemoteLayout, there: Path) -> None:
    root = fill(tmp_path / "code", {"a": b"1", "b": b"2", "gone/c": b"3", "kind": b"file"})
    (root / "mode").write_bytes(b"m")
    push(connection, root, layout.code)
    (there / "made_by_the_job.npz").write_bytes(b"keep me")
    (there / "gone/by_the_job").write_bytes(b"me too")
    fill(root, {"b": b"22"})
    shutil.rmtree(root / "gone")
    (root / "kind").unlink()
    fill(root, {"kind/inside": b"folder now"})
    (root / "mode").chmod(0o700)
    sent = push(connection, root, layout.code)
    assert sent.files == 2
    assert tree(there) == {
        **tree(root),
        "made_by_the_job.npz": (b"keep me", 0o100644),
        "gone": "folder",
        "gone/by_the_job": (b"me too", 0o100644),
    }
    assert push(connection, root, layout.code).sent_bytes == 0


NAME = st.lists(st.sampled_from(["a", "b", "ü", " x", "-r", "'q'", "$(w)"]), min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(NAME, st.binary(max_size=50), max_size=6)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=TREES, second=TREES)
def test_any_tree_becomes_any_other(
    tmp_path_factory: pytest.TempPathFactory, connection: Any, first: TreeDict, second: TreeDict
) -> None:
    remote = RemoteLayout(f"r{random.getrandbits(64):x}").code
    for files in (first, second):
        root = tmp_path_factory.mktemp("tree")
        for name, content in files.items():
            if (
                not any((root / name).parents[n].is_file() for n in range(name.count("/")))
                and not (root / name).exists()
            ):
                fill(root, {name: content})
        push(connection, root, remote)
        assert tree(connection.home / remote) == tree(root)


def test_no_round_trip_a_file(tmp_path: Path, connection: Any, layout: RemoteLayout) -> None:
    root = fill(tmp_path / "code", {f"{n % 20}/{n}.py": b"import this\n" * n for n in range(500)})
    push(connection, fill(tmp_path / "first", {"x": b""}), RemoteLayout("warm").code)
    before = len(connection.commands)
    began = time.monotonic()
    push(connection, root, layout.code)
    # Well under a second where nothing else runs; this machine may be busy.
    assert time.monotonic() - began < 3
    assert len(connection.commands) == before + 1


def test_nothing_is_in_place_until_all_is_verified(
    tmp_path: Path, connection: Any, layout: RemoteLayout, there: Path
) -> None:
    old = fill(tmp_path / "old", {"a": b"old a", "z": b"old z"})
    push(connection, old, layout.code)
    new = fill(tmp_path / "new", {"a": b"new a", "m": os.urandom(3_000_000), "z": b"new z"})

    def cut(progress: TransferProgress) -> None:
        if progress.done_bytes > 1_500_000:
            connection.streams[-1].cut()

    with pytest.raises(HostUnreachable):
        push(connection, new, layout.code, cut)
    assert tree(there) == tree(old)
    push(connection, new, layout.code)
    assert tree(there) == tree(new)


def test_a_cut_upload_goes_on_where_it_was(tmp_path: Path, connection: Any, layout: RemoteLayout, there: Path) -> None:
    root = fill(tmp_path / "code", {f"{n:02}": os.urandom(300_000) for n in range(10)})

    def cut(progress: TransferProgress) -> None:
        if progress.done_files == 7:
            connection.streams[-1].cut()

    with pytest.raises(HostUnreachable):
        push(connection, root, layout.code, cut)
    assert 1 <= push(connection, root, layout.code).files <= 9
    assert tree(there) == tree(root)


def test_a_file_that_changes_is_sent_as_it_is_then(
    tmp_path: Path, connection: Any, layout: RemoteLayout, there: Path
) -> None:
    root = fill(tmp_path / "code", {"a": b"1" * 500, "b": b"2" * 500, "c": b"3"})
    scanned = manifest.scan(root, ignore=ignore.nothing())
    fill(root, {"a": b"longer " * 500, "b": b"short"})
    (root / "c").unlink()
    sent = upload.push(connection, scanned, layout.code, silent, "code")
    assert sent.changed == ("a", "b", "c")
    assert tree(there) == tree(root)


def test_a_file_that_never_holds_still_is_told(
    tmp_path: Path, connection: Any, layout: RemoteLayout, there: Path
) -> None:
    root = fill(tmp_path / "code", {"busy.log": b"0" * 1000})
    count = iter(range(1, 1000))

    scanned = manifest.scan(root, ignore=ignore.nothing())
    fill(root, {"busy.log": b"other" * 200})
    original = upload.rescan

    def rescan_then_change(*arguments: Any) -> Any:
        found = original(*arguments)
        fill(root, {"busy.log": b"%01000d" % next(count)})
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload, "rescan", rescan_then_change)
        with pytest.raises(TransferError, match=r"busy\.log changes while it is read") as caught:
            upload.push(connection, scanned, layout.code, silent, "code")
    assert ".gpurunignore" in caught.value.hint
    assert not there.exists()


def test_too_small_a_disk_there_is_told_before_anything_is_sent(
    tmp_path: Path, connection: Any, layout: RemoteLayout
) -> None:
    root = tmp_path / "code"
    root.mkdir()
    with (root / "huge").open("wb") as file:
        file.truncate(1000)
    scanned = manifest.scan(root, ignore=ignore.nothing())
    free = shutil.disk_usage(connection.home).free
    entry = scanned.manifest.entries[0]
    huge = manifest.Scan(
        root=scanned.root,
        manifest=type(scanned.manifest)(entries=(type(entry)(**{**_fields(entry), "size_bytes": free * 2}),)),
        skipped=(),
    )
    with pytest.raises(TransferError, match=r"disk is too small: \d+ MB are to go up, \d+ MB are free") as caught:
        upload.push(connection, huge, layout.code, silent, "code")
    assert "resources.disk" in caught.value.hint


def _fields(entry: Any) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__slots__}


def test_a_disk_that_fills_up_there_is_told_and_does_not_hang(
    tmp_path: Path, connection: Any, layout: RemoteLayout, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "code", {"a": b"fits", "big": os.urandom(8_000_000), "z": os.urandom(8_000_000)})
    original = connection.open

    def narrow(command: str) -> Any:
        stream = original(command)
        resource.prlimit(stream.process.pid, resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        return stream

    push(connection, fill(tmp_path / "warm", {"x": b""}), RemoteLayout("warm").code)
    monkeypatch.setattr(connection, "open", narrow)
    with pytest.raises(TransferError, match=r"on the machine: .*File too large") as caught:
        push(connection, root, layout.code)
    assert "df -h" in caught.value.hint
    assert not there.exists()


def test_ctrl_c_does_not_hang(tmp_path: Path, connection: Any, layout: RemoteLayout) -> None:
    root = fill(tmp_path / "code", {"big": os.urandom(4_000_000)})

    def interrupt(progress: TransferProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(connection, root, layout.code, interrupt)
    assert connection.streams[-1].process.poll() is not None


def test_one_data_file(tmp_path: Path, connection: Any, layout: RemoteLayout) -> None:
    fill(tmp_path, {"train.csv": b"1,2\n" * 100_000})
    push(connection, tmp_path / "train.csv", layout.data)
    assert (connection.home / layout.data / "train.csv").read_bytes() == b"1,2\n" * 100_000
