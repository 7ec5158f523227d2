"""Files that the job writes while they are read come whole, or are told."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from launcher.domain import TransferProgress
from launcher.errors import TransferError
from launcher.sync.down import download
from launcher.sync.layout import RemoteLayout

from .pulling import cut_every, files, no_partials, silent


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
