"""Downloads from a real sshd over a line that is cut again and again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from launcher.domain import TransferProgress
from launcher.sync.down import download
from launcher.sync.layout import RemoteLayout
from launcher.sync.wire.lines import Lines

from .large_files import MIB, digest, fill
from .relay import Relay


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


@pytest.mark.parametrize(
    ("size_bytes", "cuts"),
    [(96 * MIB, 12), pytest.param(1024 * MIB, 50, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
def test_cuts_cost_next_to_nothing(tmp_path: Path, sshd: Any, layout: RemoteLayout, size_bytes: int, cuts: int) -> None:
    there = sshd.home / layout.output
    there.mkdir(parents=True)
    fill(there / "big", size_bytes)
    (there / "small").write_bytes(b"x")
    relay = Relay(sshd.port, size_bytes // (cuts + 1), cuts, counts_up=False)
    lines = Lines(sshd.endpoint(port=relay.port))
    try:
        download.pull(lines, layout.output, tmp_path / "home", silent, "results")
    finally:
        lines.close()
        relay.close()
    assert relay.cuts == cuts
    assert digest(tmp_path / "home/big") == digest(there / "big")
    assert relay.carried_bytes < 1.1 * size_bytes


def test_the_way_home_over_ssh(tmp_path: Path, sshd: Any, layout: RemoteLayout) -> None:
    there = sshd.home / layout.output
    there.mkdir(parents=True)
    for number in range(500):
        path = there / str(number % 7) / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(number * 30))
    fill(there / "weights", 8 * MIB)
    lines = Lines(sshd.endpoint())
    try:
        found = download.pull(lines, layout.output, tmp_path / "home", silent, "results")
        seen: list[TransferProgress] = []
        download.pull(lines, layout.output, tmp_path / "home", seen.append, "results")
    finally:
        lines.close()
    assert len(found.entries) == 508
    for path in there.rglob("*"):
        home = tmp_path / "home" / path.relative_to(there)
        assert home.is_dir() if path.is_dir() else home.read_bytes() == path.read_bytes()
    assert seen[-1].reused_bytes == found.size_bytes
    assert seen[-1].sent_bytes == 0
