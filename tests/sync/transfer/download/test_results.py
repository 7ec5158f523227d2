"""Downloads over real pipes from a real agent: what comes home, and how it lies here then."""

from __future__ import annotations

import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from launcher.agent import outgo
from launcher.agent.hashes import LEAF_BYTES, digest_of
from launcher.domain import FileKind, TransferProgress
from launcher.sync.down import download
from launcher.sync.down.listing import Far
from launcher.sync.down.partials import Partial, Partials
from launcher.sync.layout import RemoteLayout

from .pulling import files, no_partials, silent


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
