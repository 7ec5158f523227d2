from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import threading
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from launcher.agent import outgo
from launcher.agent.hashes import LEAF_BYTES, digest_of
from launcher.domain import FileKind, TransferProgress
from launcher.errors import HostUnreachable, TransferError
from launcher.sync.down import download
from launcher.sync.down.listing import Far
from launcher.sync.down.partials import Partial, Partials
from launcher.sync.down.pieces import PIECE_BYTES
from launcher.sync.layout import RemoteLayout
from launcher.sync.local.collisions import check_collisions, name_key
from launcher.sync.wire.growth import MOST_LANES


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


@pytest.fixture
def there(connection: Any, layout: RemoteLayout) -> Path:
    folder = connection.home / layout.output
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "digits-7f3a"


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def no_partials(dest: Path) -> bool:
    return not list(dest.glob(".partial*"))


def test_results_come_home(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    (there / "deep/er").mkdir(parents=True)
    (there / "empty").mkdir()
    (there / "weights.npz").write_bytes(os.urandom(900_000))
    (there / "deep/er/log").write_bytes(b"line\n" * 200_000)
    (there / "latest").symlink_to("deep")
    (there / "absolute").symlink_to(there / "weights.npz")
    (there / "weights.npz").chmod(0o777)
    seen: list[TransferProgress] = []
    found = download.pull(lines, layout.output, dest, seen.append, "results")
    assert (dest / "weights.npz").read_bytes() == (there / "weights.npz").read_bytes()
    assert (dest / "latest/er/log").read_bytes() == b"line\n" * 200_000
    assert (dest / "absolute").readlink() == Path("weights.npz")
    assert (dest / "empty").is_dir()
    assert (dest / "weights.npz").stat().st_mode & 0o777 == 0o755
    assert (dest / "weights.npz").stat().st_mtime_ns == (there / "weights.npz").stat().st_mtime_ns
    assert [entry.name for entry in found.entries] == sorted(entry.name for entry in found.entries)
    assert found.size_bytes == 1_900_000
    assert (seen[-1].done_files, seen[-1].done_bytes) == (2, 1_900_000)
    assert no_partials(dest)


def test_what_is_home_is_not_sent_again(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    for name in ("a", "b", "c"):
        (there / name).write_bytes(os.urandom(100_000))
    (there / "empty").touch()
    download.pull(lines, layout.output, dest, silent, "results")
    (dest / "b").write_bytes(b"x" * 100_000)
    (dest / "mine").write_bytes(b"kept")
    before = (dest / "a").stat().st_ino
    seen: list[TransferProgress] = []
    found = download.pull(lines, layout.output, dest, seen.append, "results")
    assert (seen[-1].done_files, seen[-1].reused_bytes) == (4, 200_000)
    assert 100_000 <= seen[-1].sent_bytes < 101_000
    assert files(dest) == {**files(there), "mine": b"kept"}
    assert (dest / "a").stat().st_ino == before
    assert {entry.name: entry.sha256 for entry in found.entries} == {
        name: digest_of(content).hex() for name, content in files(there).items()
    }


def test_a_folder_that_was_never_made_holds_nothing(lines: Any, layout: RemoteLayout, dest: Path) -> None:
    assert download.pull(lines, layout.output, dest, silent, "results").entries == ()


def test_some_files_alone(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    (there / "sub").mkdir()
    for name in ("sub/w.npz", "w.npz", "big.bin"):
        (there / name).write_bytes(b"x")
    download.pull(lines, layout.output, dest, silent, "weights", keep=lambda name: name.endswith(".npz"))
    assert set(files(dest)) == {"sub/w.npz", "w.npz"}


def test_what_cannot_come_is_told(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    (there / "w").write_bytes(b"x")
    (there / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(there / "pipe")
    notes: list[str] = []
    download.pull(lines, layout.output, dest, silent, "results", note=notes.append)
    assert set(files(dest)) == {"w"}
    assert [note.split()[0] for note in sorted(notes)] == ["passwd", "pipe"]


def cut_every(lines: Any, size_bytes: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every stream die after so many bytes; gives what each of them brought."""
    brought: list[int] = []

    def cutting(original: Any) -> Any:
        def open_cutting(command: str) -> Any:
            stream, number = original(command), len(brought)
            brought.append(0)
            read = stream.read

            def read_some(size: int) -> bytes:
                if brought[number] > size_bytes:
                    stream.cut()
                    raise HostUnreachable("cut")
                data: bytes = read(size)
                brought[number] += len(data)
                return data

            stream.read = read_some
            return stream

        return open_cutting

    for line in (lines.control, *map(lines.bulk, range(MOST_LANES))):
        connection = line.connection
        monkeypatch.setattr(connection, "open", cutting(connection.open))
    return brought


def test_cuts_cost_less_than_the_window(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there / "big").write_bytes(os.urandom(30_000_000))
    for number in range(100):
        (there / f"{number}").write_bytes(os.urandom(100_000))
    brought = cut_every(lines, 4_000_000, monkeypatch)
    download.pull(lines, layout.output, dest, silent, "results")
    assert files(dest) == files(there)
    assert len(brought) >= 10
    assert sum(brought) < 1.1 * 40_000_000
    assert no_partials(dest)


def killed_after(pieces: int, lines: Any, layout: RemoteLayout, dest: Path) -> None:
    """Pull in a process that dies, with no farewell, when so many pieces are written."""
    child = os.fork()
    if child == 0:
        count = iter(range(pieces))
        original = Partial.write

        def write_some(partial: Partial, *arguments: Any) -> bool:
            if next(count, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(partial, *arguments)

        Partial.write = write_some  # type: ignore[method-assign]
        try:
            download.pull(lines, layout.output, dest, silent, "results")
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def test_a_killed_download_goes_on_with_the_piece_that_lacks(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path
) -> None:
    (there / "big").write_bytes(os.urandom(20_000_000))
    killed_after(10, lines, layout, dest)
    assert files(dest).keys().isdisjoint({"big"})
    seen: list[TransferProgress] = []
    download.pull(lines, layout.output, dest, seen.append, "results")
    assert seen[-1].reused_bytes >= 8 * PIECE_BYTES
    assert seen[-1].sent_bytes < 20_000_000 - 7 * PIECE_BYTES
    assert files(dest) == files(there)
    assert no_partials(dest)


def test_what_a_crash_tore_is_fetched_again(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    (there / "big").write_bytes(os.urandom(5_000_000))
    with (there / "sparse").open("wb") as file:
        file.truncate(5_000_000)
        file.write(os.urandom(100_000))
    killed_after(4, lines, layout, dest)
    torn = [path.with_suffix("") for path in dest.glob(".partial-gpurun-kept/*.leaves")]
    assert torn
    for path in torn:
        with path.open("r+b") as file:
            # One leaf that is marked as there, and one in the middle of what the other side will call a hole.
            for at in (20_000, 2_500_000):
                file.seek(at)
                file.write(b"torn")
    seen: list[TransferProgress] = []
    download.pull(lines, layout.output, dest, seen.append, "results")
    assert seen[-1].reused_bytes > 3_000_000
    assert files(dest) == files(there)


def test_a_file_that_changed_since_the_kill_comes_anew(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path
) -> None:
    (there / "big").write_bytes(os.urandom(5_000_000))
    killed_after(2, lines, layout, dest)
    (there / "big").write_bytes(os.urandom(5_000_000))
    seen: list[TransferProgress] = []
    download.pull(lines, layout.output, dest, seen.append, "results")
    assert seen[-1].reused_bytes == 0
    assert files(dest) == files(there)
    assert no_partials(dest)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), HostUnreachable("no line to the machine")])
def test_an_interruption_keeps_what_came(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path, monkeypatch: pytest.MonkeyPatch, interruption: Any
) -> None:
    (there / "big").write_bytes(os.urandom(20_000_000))
    arrived, interrupted = threading.Event(), threading.Event()
    original = Partial.write

    def write_one(partial: Partial, *arguments: Any) -> bool:
        if arrived.is_set():
            interrupted.wait(10)
        whole = original(partial, *arguments)
        arrived.set()
        return whole

    def interrupt(progress: TransferProgress) -> None:
        if arrived.is_set():
            interrupted.set()
            raise interruption

    monkeypatch.setattr(Partial, "write", write_one)
    with pytest.raises(type(interruption)):
        download.pull(lines, layout.output, dest, interrupt, "results")
    monkeypatch.setattr(Partial, "write", original)
    assert files(dest).keys().isdisjoint({"big"})
    seen: list[TransferProgress] = []
    download.pull(lines, layout.output, dest, seen.append, "results")
    assert seen[-1].reused_bytes >= LEAF_BYTES
    assert files(dest) == files(there)
    assert no_partials(dest)


def test_two_pulls_at_once_do_not_meet(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    (there / "big").write_bytes(os.urandom(20_000_000))
    (there / "small").write_bytes(b"x")
    folders: list[int] = []

    def pull_again(progress: TransferProgress) -> None:
        if not folders:
            folders.append(0)
            download.pull(lines, layout.output, dest, count_folders, "results")

    def count_folders(progress: TransferProgress) -> None:
        folders.append(len(list(dest.glob(".partial*"))))

    download.pull(lines, layout.output, dest, pull_again, "results")
    assert max(folders) == 2
    assert files(dest) == files(there)
    assert no_partials(dest)


def test_holes_stay_holes(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    size = 3_000_000_001
    for name, at in (("start", 0), ("middle", 1_234_567_890), ("end", size - 1)):
        with (there / name).open("wb") as file:
            file.truncate(size)
            file.seek(at)
            file.write(b"x")
    with (there / "all").open("wb") as file:
        file.truncate(size)
    (there / "zeros").write_bytes(bytes(2_000_000))
    seen: list[TransferProgress] = []
    download.pull(lines, layout.output, dest, seen.append, "results")
    assert seen[-1].done_bytes == 4 * size + 2_000_000
    assert seen[-1].sent_bytes < 4 * LEAF_BYTES
    for path in there.iterdir():
        home = dest / path.name
        assert home.stat().st_size == path.stat().st_size
        # Holes are kept to the leaf.
        assert home.stat().st_blocks <= path.stat().st_blocks + 2 * LEAF_BYTES // 512
        for at in (0, 1_234_567_890, size - 1):
            with path.open("rb") as old, home.open("rb") as new:
                old.seek(at)
                new.seek(at)
                assert old.read(10) == new.read(10)


def test_a_large_hole_takes_little_memory(tmp_path: Path) -> None:
    far = Far("a", FileKind.FILE, 100 << 30, 0, 0o644, "", 1, ())
    partial = Partial(Partials(tmp_path), far)
    tracemalloc.start()
    try:
        partial.begin()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert partial.complete
    assert Path(partial.take()).stat().st_size == 100 << 30


def test_odd_names_come_as_they_are(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    names = ["-rf", "a\nb", 'it\'s "quoted"', os.fsdecode(b"\xff\xfe"), "\u00e9", "e\u0301", "$HOME", "a b/ c"]
    for name in names:
        (there / name).parent.mkdir(exist_ok=True)
        (there / name).write_bytes(os.fsencode(name))
    download.pull(lines, layout.output, dest, silent, "results")
    assert files(dest) == files(there)
    assert len(files(dest)) == len(names)


def test_a_far_side_without_zstd(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    for connection in (lines.control.connection, lines.bulk(0).connection):
        # No library is found there.
        connection.environment |= {"PATH": without_zstd(connection)}
    (there / "log").write_bytes(b"the same line\n" * 1_000_000)
    seen: list[TransferProgress] = []
    download.pull(lines, layout.output, dest, seen.append, "results")
    assert files(dest) == files(there)
    assert seen[-1].sent_bytes < 13_900_000


def without_zstd(connection: Any) -> str:
    """A search path whose python3 cannot load libraries of its choice."""
    folder = connection.home.parent / "bin"
    folder.mkdir(exist_ok=True)
    blind = "import sys; sys.modules['ctypes'] = None"
    script = f'#!/bin/sh\nshift 3\nexec {sys.executable} -IS -X utf8 "$1" "{blind}; $2"\n'
    (folder / "python3").write_text(script)
    (folder / "python3").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_a_file_that_grows_comes_as_it_was_when_it_was_hashed(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path
) -> None:
    path = there / "metrics.jsonl"
    path.write_bytes(b"{}\n" * 100)
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.is_set():
                file.write(b'{"step": 1}\n')

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        found = download.pull(lines, layout.output, dest, silent, "results")
    finally:
        stop.set()
        writer.join()
    home = (dest / "metrics.jsonl").read_bytes()
    assert len(home) == found.size_bytes >= 300
    assert path.read_bytes().startswith(home)


def test_a_checkpoint_that_is_replaced_comes_whole(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    path = there / "checkpoint.npz"
    stop = threading.Event()

    def save(number: int) -> None:
        partial = there.parent / "checkpoint.tmp"
        partial.write_bytes(b"%08d" % number * 200_000)
        partial.replace(path)

    def train() -> None:
        number = 1
        while not stop.is_set():
            save(number)
            number += 1

    save(0)
    trainer = threading.Thread(target=train)
    trainer.start()
    try:
        for _ in range(3):
            download.pull(lines, layout.output, dest, silent, "checkpoint")
            home = (dest / "checkpoint.npz").read_bytes()
            assert len(home) == 1_600_000
            assert home == home[:8] * 200_000
    finally:
        stop.set()
        trainer.join()


@pytest.mark.parametrize("size_bytes", [1000, 1_000_000])
def test_a_file_rewritten_before_it_is_read_is_asked_for_again_and_told(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path, size_bytes: int
) -> None:
    (there / "a").write_bytes(os.urandom(100))
    (there / "state").write_bytes(b"1" * size_bytes)
    notes: list[str] = []

    def keep_and_rewrite(name: str) -> bool:
        (there / "state").write_bytes(b"2" * (size_bytes + 1))
        return True

    found = download.pull(lines, layout.output, dest, silent, "results", keep=keep_and_rewrite, note=notes.append)
    assert files(dest) == files(there)
    assert notes == ["state changed while it was read: once more"]
    assert found.size_bytes == 100 + size_bytes + 1


def test_a_rewritten_file_comes_over_many_cuts(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there / "state").write_bytes(b"1")
    brought = cut_every(lines, 1_300_000, monkeypatch)

    def keep_and_rewrite(name: str) -> bool:
        (there / "state").write_bytes(os.urandom(12_000_000))
        return True

    download.pull(lines, layout.output, dest, silent, "results", keep=keep_and_rewrite)
    assert files(dest) == files(there)
    assert len(brought) > 6


@pytest.mark.parametrize("size_bytes", [1000, 1_000_000])
def test_a_file_rewritten_after_it_was_read_is_asked_for_again_and_told(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path, size_bytes: int
) -> None:
    (there / "state").write_bytes(b"1" * size_bytes)
    (there / "gone").write_bytes(b"x")
    notes: list[str] = []
    seen: list[TransferProgress] = []

    def rewrite(progress: TransferProgress) -> None:
        # The last report of the first round comes when everything is here.
        seen.append(progress)
        if len(notes) == 0:
            (there / "state").write_bytes(b"2" * (size_bytes - 1))
            (there / "gone").unlink(missing_ok=True)

    download.pull(lines, layout.output, dest, rewrite, "results", note=notes.append)
    assert files(dest) == {"state": b"2" * (size_bytes - 1), "gone": b"x"}
    assert notes == ["state changed while it was read: once more"]
    assert (seen[-1].done_bytes, seen[-1].total_bytes, seen[-1].done_files) == (size_bytes, size_bytes, 2)


def test_a_file_that_is_gone_before_it_is_read_is_told(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path
) -> None:
    for name in ("small", "stays"):
        (there / name).write_bytes(b"x")
    (there / "large").write_bytes(os.urandom(1_000_000))
    notes: list[str] = []
    seen: list[TransferProgress] = []

    def keep_and_remove(name: str) -> bool:
        for gone in ("small", "large"):
            (there / gone).unlink(missing_ok=True)
        return True

    found = download.pull(lines, layout.output, dest, seen.append, "results", keep=keep_and_remove, note=notes.append)
    assert files(dest) == {"stays": b"x"}
    assert sorted(notes) == ["large is gone by now", "small is gone by now"]
    assert [entry.name for entry in found.entries] == ["stays"]
    assert (seen[-1].done_bytes, seen[-1].total_bytes, seen[-1].total_files) == (1, 1, 1)


def test_a_file_that_never_holds_still_is_told(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    path = there / "busy"
    path.write_bytes(bytes(20_000_000))
    (there / "calm").write_bytes(b"x")
    stop = threading.Event()

    def scribble() -> None:
        with path.open("r+b", buffering=0) as file:
            while not stop.is_set():
                file.seek(0)
                file.write(os.urandom(1000))

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        with pytest.raises(TransferError, match="busy changes while it is read; the other files are home") as caught:
            download.pull(lines, layout.output, dest, silent, "results")
    finally:
        stop.set()
        writer.join()
    assert caught.value.hint.startswith("gpurun fetch-weights digits-7f3a")
    assert files(dest) == {"calm": b"x"}
    assert no_partials(dest)


def test_names_that_are_one_on_this_disk_are_told_before_the_first_byte(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Model/w", "model/w", "other"):
        (there / name).parent.mkdir(exist_ok=True)
        (there / name).write_bytes(b"x")
    monkeypatch.setattr(download, "name_key", lambda folder: str.casefold)
    with pytest.raises(TransferError, match="Model and model are two names on the machine and one on the disk"):
        download.pull(lines, layout.output, dest, silent, "results")
    assert files(dest) == {}


def test_the_disk_is_asked_how_it_tells_names_apart(tmp_path: Path) -> None:
    assert name_key(tmp_path) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        ("folds", [("A", "a"), ("x/\u00c9", "x/\u00e9")]),
        ("composes", [("\u00e9", "e\u0301")]),
        ("both", [("A", "a"), ("\u00c9", "e\u0301"), ("d/A/x", "d/a/y")]),
    ],
)
def test_a_disk_that_tells_fewer_names_apart(tmp_path: Path, kind: str, pairs: list[tuple[str, str]]) -> None:
    class Disk(type(tmp_path)):  # type: ignore[misc]
        """Finds a probe by other names too."""

        def exists(self) -> bool:
            folded = self.name.swapcase() if kind in {"folds", "both"} else self.name
            composed = unicodedata.normalize("NFC", self.name) if kind in {"composes", "both"} else self.name
            return any(os.path.lexists(self.with_name(name)) for name in (self.name, folded, composed))

    key = name_key(Disk(tmp_path))
    assert not list(tmp_path.iterdir())
    for first, second in pairs:
        with pytest.raises(TransferError, match="two names on the machine"):
            check_collisions([first, "other", second], key, tmp_path, "")
    check_collisions(["A", "B", "c/A"], key, tmp_path, "")
    apart = ("A", "a") if kind == "composes" else ("e", "\u00e9")
    check_collisions(apart, key, tmp_path, "")


def test_too_small_a_disk_at_home_loses_nothing(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there / "weights").write_bytes(b"w" * 5_000_000)
    usage = shutil.disk_usage(dest.parent.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(
        TransferError, match=r"5\.0 MB are to come home, 1\.0 MB are free.*stay on the machine"
    ) as caught:
        download.pull(lines, layout.output, dest, silent, "results")
    assert caught.value.hint.startswith("gpurun fetch-weights digits-7f3a --to DIR")
    assert files(dest) == {}
    assert (there / "weights").exists()


def test_a_disk_that_fills_up_on_the_way_says_the_same(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path
) -> None:
    (there / "a").write_bytes(b"fits")
    (there / "weights").write_bytes(b"w" * 5_000_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(TransferError, match="stay on the machine") as caught:
            download.pull(lines, layout.output, dest, silent, "results")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "--to DIR" in caught.value.hint
    assert files(dest).items() <= {("a", b"fits")}
    assert no_partials(dest)


def test_nothing_is_written_through_a_link_that_lies_at_home(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path, tmp_path: Path
) -> None:
    (there / "sub").mkdir()
    (there / "sub/w").write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    dest.mkdir(parents=True)
    (dest / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TransferError, match="is a link") as caught:
        download.pull(lines, layout.output, dest, silent, "results")
    assert caught.value.hint.startswith("rm ")
    assert files(tmp_path / "elsewhere") == {}


def make(root: Path, name: str, kind: str) -> None:
    """Give a name that kind, whatever it was."""
    path = root / name
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    if kind == "file":
        path.write_bytes(b"file")
    elif kind == "link":
        path.symlink_to("other")
    else:
        path.mkdir()
        if kind == "folder":
            (path / "w").write_bytes(b"same")
            (path / "latest").symlink_to("w")


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("file", "folder"),
        ("file", "empty"),
        ("file", "link"),
        ("link", "folder"),
        ("link", "empty"),
        ("link", "file"),
        ("empty", "file"),
        ("empty", "link"),
    ],
)
def test_a_name_may_change_its_kind(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path, old: str, new: str, chosen: bool
) -> None:
    # The same file lies behind the old link as in the new folder.
    make(there, "other", "folder")
    make(there, "a", old)
    download.pull(lines, layout.output, dest, silent, "results")
    make(there, "a", new)
    download.pull(lines, layout.output, dest, silent, "results", keep=(lambda name: True) if chosen else None)
    if not (chosen and new == "empty"):
        assert kinds(dest) == kinds(there)
    assert files(dest / "other") == files(there / "other")


def kinds(root: Path) -> dict[str, str | bytes]:
    """What lies there, links not followed."""
    return {
        str(path.relative_to(root)): str(path.readlink())
        if path.is_symlink()
        else "folder"
        if path.is_dir()
        else path.read_bytes()
        for path in root.rglob("*")
    }


@pytest.mark.parametrize("new", ["file", "link"])
def test_a_folder_with_files_makes_no_way(lines: Any, layout: RemoteLayout, there: Path, dest: Path, new: str) -> None:
    make(there, "a", "folder")
    (there / "b").write_bytes(b"x")
    download.pull(lines, layout.output, dest, silent, "results")
    make(there, "a", new)
    (there / "b").write_bytes(b"other")
    with pytest.raises(TransferError, match="/a is a folder here that is not empty, and a on the machine is none") as e:
        download.pull(lines, layout.output, dest, silent, "results")
    assert e.value.hint.startswith("gpurun fetch-weights digits-7f3a --to DIR")
    assert files(dest) == {"a/w": b"same", "a/latest": b"same", "b": b"x"}


def test_mode_and_time_of_what_is_home_follow(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    (there / "run.sh").write_bytes(b"#!/bin/sh\n")
    download.pull(lines, layout.output, dest, silent, "results")
    (there / "run.sh").chmod(0o755)
    os.utime(there / "run.sh", (1, 1))
    seen: list[TransferProgress] = []
    download.pull(lines, layout.output, dest, seen.append, "results")
    assert (dest / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (dest / "run.sh").stat().st_mtime == 1
    assert seen[-1].sent_bytes == 0


def test_leftovers_of_a_killed_download_are_swept(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    (dest / ".partial-gpurun-old").mkdir(parents=True)
    (dest / ".partial-gpurun-living").mkdir()
    os.utime(dest / ".partial-gpurun-old", (1, 1))
    download.pull(lines, layout.output, dest, silent, "results")
    assert [path.name for path in dest.iterdir()] == [".partial-gpurun-living"]


@pytest.mark.parametrize(
    ("asked_s", "line_s", "levels"),
    [
        (0.0, 0.0, [0, 0, 0]),
        (0.0, 0.5, [3, 6, 6]),
        (0.5, 0.0, [1, 1, 1]),
        (0.5, 0.5, [3, 6, 6]),
    ],
)
def test_compression_is_harder_where_the_line_is_slow(
    monkeypatch: pytest.MonkeyPatch, asked_s: float, line_s: float, levels: list[int]
) -> None:
    now = iter(range(1000))
    monkeypatch.setattr(outgo.time, "monotonic", lambda: float(next(now)))
    effort = outgo.Effort()
    found = []
    for _ in levels:
        effort.asked_s, effort.line_s = asked_s, line_s
        found.append(effort.level())
    assert found == levels
    # What changes later is followed, a step at a time.
    while effort.level():
        effort.asked_s = 0.0
    effort.asked_s = 0.5
    assert effort.level() == 1
