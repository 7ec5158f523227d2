"""An upload that is cut off: nothing is half done, and the next one goes on."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from launcher.domain import TransferProgress
from launcher.errors import HostUnreachable
from launcher.sync.layout import RemoteLayout
from launcher.sync.local.memory import Memory

from .pushing import MB, MIB, fill, push, tree


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
