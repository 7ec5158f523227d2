"""A download that is cut off, killed or stopped: the next one goes on with what lacks."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from launcher.agent.hashes import LEAF_BYTES
from launcher.domain import TransferProgress
from launcher.errors import HostUnreachable
from launcher.sync.down import download
from launcher.sync.down.partials import Partial
from launcher.sync.down.pieces import PIECE_BYTES
from launcher.sync.layout import RemoteLayout

from .pulling import cut_every, files, no_partials, silent


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


def test_leftovers_of_a_killed_download_are_swept(lines: Any, layout: RemoteLayout, there: Path, dest: Path) -> None:
    (dest / ".partial-gpurun-old").mkdir(parents=True)
    (dest / ".partial-gpurun-living").mkdir()
    os.utime(dest / ".partial-gpurun-old", (1, 1))
    download.pull(lines, layout.output, dest, silent, "results")
    assert [path.name for path in dest.iterdir()] == [".partial-gpurun-living"]
