from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.domain import TransferProgress
from launcher.errors import HostUnreachable, RemoteError, TransferError
from launcher.ports import Completed
from launcher.sync import download
from launcher.sync.frames import BLOCK_BYTES, HEADER, MAGIC
from launcher.sync.layout import RemoteLayout


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


def test_results_come_home(connection: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    (there / "deep/er").mkdir(parents=True)
    (there / "empty").mkdir()
    (there / "weights.npz").write_bytes(os.urandom(900_000))
    (there / "deep/er/log").write_bytes(b"line\n" * 200_000)
    (there / "latest").symlink_to("deep")
    (there / "absolute").symlink_to(there / "weights.npz")
    (there / "weights.npz").chmod(0o777)
    seen: list[TransferProgress] = []
    found = download.pull(connection, layout.output, dest, seen.append, "results")
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


def test_what_is_home_is_not_sent_again(connection: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    for name in ("a", "b", "c"):
        (there / name).write_bytes(name.encode() * 1000)
    download.pull(connection, layout.output, dest, silent, "results")
    (dest / "b").write_bytes(b"x" * 1000)
    (dest / "mine").write_bytes(b"kept")
    before = (dest / "a").stat().st_ino
    seen: list[TransferProgress] = []
    download.pull(connection, layout.output, dest, seen.append, "results")
    assert seen[-1].total_files == 1
    assert files(dest) == {**files(there), "mine": b"kept"}
    assert (dest / "a").stat().st_ino == before


def test_a_folder_that_was_never_made_holds_nothing(connection: Any, layout: RemoteLayout, dest: Path) -> None:
    assert download.pull(connection, layout.output, dest, silent, "results").entries == ()


def test_some_files_alone(connection: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    (there / "sub").mkdir()
    for name in ("sub/w.npz", "w.npz", "big.bin"):
        (there / name).write_bytes(b"x")
    download.pull(connection, layout.output, dest, silent, "weights", keep=lambda name: name.endswith(".npz"))
    assert set(files(dest)) == {"sub/w.npz", "w.npz"}


def test_what_cannot_come_is_told(connection: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    (there / "w").write_bytes(b"x")
    (there / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(there / "pipe")
    notes: list[str] = []
    download.pull(connection, layout.output, dest, silent, "results", note=notes.append)
    assert set(files(dest)) == {"w"}
    assert [note.split()[0] for note in sorted(notes)] == ["passwd", "pipe"]


def test_a_cut_download_goes_on_file_by_file(connection: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    for number in range(10):
        (there / f"{number}").write_bytes(os.urandom(600_000))

    def cut(progress: TransferProgress) -> None:
        if progress.done_files == 5:
            connection.streams[-1].cut()

    with pytest.raises(HostUnreachable):
        download.pull(connection, layout.output, dest, cut, "results")
    arrived = files(dest)
    assert len(arrived) >= 5
    assert no_partials(dest)
    seen: list[TransferProgress] = []
    download.pull(connection, layout.output, dest, seen.append, "results")
    assert seen[-1].total_files == 10 - len(arrived)
    assert files(dest) == files(there)


def test_a_file_that_grows_comes_as_it_was_when_it_was_hashed(
    connection: Any, layout: RemoteLayout, there: Path, dest: Path
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
        found = download.pull(connection, layout.output, dest, silent, "results")
    finally:
        stop.set()
        writer.join()
    home = (dest / "metrics.jsonl").read_bytes()
    assert len(home) == found.size_bytes >= 300
    assert path.read_bytes().startswith(home)


def test_a_checkpoint_that_is_replaced_comes_whole(
    connection: Any, layout: RemoteLayout, there: Path, dest: Path
) -> None:
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
            download.pull(connection, layout.output, dest, silent, "checkpoint")
            home = (dest / "checkpoint.npz").read_bytes()
            assert len(home) == 1_600_000
            assert home == home[:8] * 200_000
    finally:
        stop.set()
        trainer.join()


def test_a_file_rewritten_under_our_hands_is_asked_for_again_and_told(
    connection: Any, layout: RemoteLayout, there: Path, dest: Path
) -> None:
    (there / "a").write_bytes(os.urandom(2_000_000))
    (there / "state").write_bytes(b"1" * 1000)
    notes: list[str] = []

    big = 40
    for number in range(big):
        (there / f"b{number:02}").write_bytes(os.urandom(1_000_000))

    def rewrite_once(progress: TransferProgress) -> None:
        if progress.total_files == big + 2 and progress.done_files == 1:
            (there / "state").write_bytes(b"2" * 1000)

    download.pull(connection, layout.output, dest, rewrite_once, "results", note=notes.append)
    assert files(dest) == files(there)
    assert notes == ["state changed while it was read: once more"]


def test_too_small_a_disk_at_home_loses_nothing(
    connection: Any, layout: RemoteLayout, there: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there / "weights").write_bytes(b"w" * 5_000_000)
    usage = shutil.disk_usage(dest.parent.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(
        TransferError, match=r"5\.0 MB are to come home, 1\.0 MB are free.*stay on the machine"
    ) as caught:
        download.pull(connection, layout.output, dest, silent, "results")
    assert caught.value.hint.startswith("gpurun fetch-weights digits-7f3a --to DIR")
    assert files(dest) == {}
    assert (there / "weights").exists()


def test_a_disk_that_fills_up_on_the_way_says_the_same(
    connection: Any, layout: RemoteLayout, there: Path, dest: Path
) -> None:
    (there / "a").write_bytes(b"fits")
    (there / "weights").write_bytes(b"w" * 5_000_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(TransferError, match="stay on the machine") as caught:
            download.pull(connection, layout.output, dest, silent, "results")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "--to DIR" in caught.value.hint
    assert files(dest) == {"a": b"fits"}
    assert no_partials(dest)


def test_nothing_is_written_through_a_link_that_lies_at_home(
    connection: Any, layout: RemoteLayout, there: Path, dest: Path, tmp_path: Path
) -> None:
    (there / "sub").mkdir()
    (there / "sub/w").write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    dest.mkdir(parents=True)
    (dest / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TransferError, match="is a link") as caught:
        download.pull(connection, layout.output, dest, silent, "results")
    assert caught.value.hint.startswith("rm ")
    assert files(tmp_path / "elsewhere") == {}


def test_leftovers_of_a_killed_download_are_swept(
    connection: Any, layout: RemoteLayout, there: Path, dest: Path
) -> None:
    (dest / ".partial-gpurun-old").mkdir(parents=True)
    (dest / ".partial-gpurun-living").mkdir()
    os.utime(dest / ".partial-gpurun-old", (1, 1))
    download.pull(connection, layout.output, dest, silent, "results")
    assert [path.name for path in dest.iterdir()] == [".partial-gpurun-living"]


# A far side that lies.


class ScriptedStream:
    """Says what it was told to say, whatever it is asked."""

    def __init__(self, said: bytes) -> None:
        self.said = said

    def write(self, data: bytes) -> None:
        pass

    def read(self, size: int) -> bytes:
        part, self.said = self.said[:size], self.said[size:]
        return part

    def finish(self) -> Completed:
        return Completed(status=0, stdout=b"", stderr=b"")

    def close_input(self) -> None:
        pass

    def close(self) -> None:
        pass


class Liar:
    """`ports.Connection` to it."""

    def __init__(self, *frames: bytes) -> None:
        self.said = MAGIC + b"".join(frames)

    def open(self, command: str) -> ScriptedStream:
        return ScriptedStream(self.said)

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        raise NotImplementedError

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        pass


def frame(kind: bytes, payload: bytes) -> bytes:
    return HEADER.pack(kind, len(payload)) + payload


def answer(value: object) -> bytes:
    return frame(b"J", json.dumps(value).encode())


def line(name: str, content: bytes = b"x", **changes: object) -> dict[str, object]:
    return {
        "name": name,
        "kind": "file",
        "size_bytes": len(content),
        "mode": 0o644,
        "mtime_ns": 0,
        "sha256": hashlib.sha256(content).hexdigest(),
        **changes,
    }


def link(name: str, target: str) -> dict[str, object]:
    return {"name": name, "kind": "symlink", "size_bytes": 0, "mode": 0o777, "mtime_ns": 0, "link_target": target}


def listing(*lines: dict[str, object]) -> bytes:
    return answer({"entries": lines, "skipped": []})


DONE = answer({"end": True, "trouble": {}})

LIES: dict[str, tuple[bytes, ...]] = {
    "up": (listing(line("../evil")), frame(b"D", b"x"), DONE),
    "up in the middle": (listing(line("a/../../evil")), frame(b"D", b"x"), DONE),
    "absolute": (listing(line("/tmp/evil")), frame(b"D", b"x"), DONE),
    "NUL": (listing(line("evil\0.txt")), frame(b"D", b"x"), DONE),
    "empty": (listing(line("")), frame(b"D", b"x"), DONE),
    "link out": (listing(link("a", "../../evil")),),
    "link absolute": (listing(link("a", "/etc")),),
    "through a link": (listing(link("a", "b"), line("a/evil")), frame(b"D", b"x"), DONE),
    "twice": (listing(line("a"), line("a")), frame(b"D", b"xx"), DONE),
    "our partial folder": (listing(line(".partial-gpurun-x/evil")), frame(b"D", b"x"), DONE),
    "negative size": (listing(line("a", size_bytes=-1)), DONE),
    "no hash": (listing(line("a", sha256="")), frame(b"D", b"x"), DONE),
    "odd kind": (listing(line("a", kind="device")), DONE),
    "more than announced": (listing(line("a")), frame(b"D", b"xy"), DONE),
    "another file behind the last": (listing(line("a")), frame(b"D", b"x"), frame(b"D", b"y"), DONE),
    "less than announced": (listing(line("a", b"xy")), frame(b"D", b"x"), DONE),
    "exabytes": (listing(line("a", size_bytes=1 << 60)), frame(b"D", b"x")),
    "a bomb": (listing(line("a", bytes(BLOCK_BYTES * 40))), frame(b"d", zlib.compress(bytes(BLOCK_BYTES * 40))), DONE),
    "rubbish for compressed": (listing(line("a")), frame(b"d", b"rubbish"), DONE),
    "a frame without end": (HEADER.pack(b"J", 0xFFFFFFFF) + b"x" * 1000,),
    "not JSON": (frame(b"J", b"{"),),
    "not an object": (answer([1]),),
    "data for an answer": (frame(b"D", b"x"),),
    "no manifest": (answer({"entries": 5, "skipped": None}),),
    "odd list of left-out files": (answer({"entries": [], "skipped": [1]}),),
    "an error of another shape": (answer({"error": "x"}),),
}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing but `dest` may appear."""
    folder = tmp_path / "watched"
    folder.mkdir()
    yield folder
    assert {path.name for path in folder.iterdir()} <= {"dest"}
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_before_anything_is_written(watched: Path, lie: str) -> None:
    with pytest.raises(RemoteError) as caught:
        download.pull(Liar(*LIES[lie]), RemoteLayout("r").output, watched / "dest", silent, "results")
    assert caught.value.message
    assert not any(path.read_bytes() != b"x" for path in watched.rglob("*") if path.is_file())
    assert no_partials(watched / "dest")


def test_other_content_than_announced_is_never_kept(watched: Path) -> None:
    again = listing(line("a", b"good"))
    liar = Liar(*[again, frame(b"D", b"evil"), DONE] * (download.ATTEMPTS + 1))
    with pytest.raises(TransferError, match="a changes while it is read"):
        download.pull(liar, RemoteLayout("r").output, watched / "dest", silent, "results")
    assert files(watched / "dest") == {}


def test_an_answer_may_not_smuggle_new_names_in(watched: Path) -> None:
    liar = Liar(listing(line("a", b"good")), frame(b"D", b"evil"), DONE, listing(line("../evil", b"good")))
    with pytest.raises(TransferError, match="refused"):
        download.pull(liar, RemoteLayout("r").output, watched / "dest", silent, "results")


def test_a_chatty_login_shell_is_skipped(watched: Path) -> None:
    liar = Liar(listing(line("a")), frame(b"D", b"x"), DONE)
    liar.said = b"Welcome to Ubuntu!\r\nYou have mail.\r\n" + liar.said
    download.pull(liar, RemoteLayout("r").output, watched / "dest", silent, "results")
    assert files(watched / "dest") == {"a": b"x"}
