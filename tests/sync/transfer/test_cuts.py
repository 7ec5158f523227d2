"""Uploads to a real sshd over a line that is cut again and again."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.domain import TransferProgress
from launcher.errors import HostUnreachable
from launcher.send import ATTEMPTS
from launcher.sync.layout import RemoteLayout
from launcher.sync.local import ignore
from launcher.sync.local.tree import scan
from launcher.sync.up import upload
from launcher.sync.wire.lines import Lines

from .large_files import MIB, digest, fill
from .relay import Relay


@pytest.fixture
def disk() -> Iterator[Path]:
    """In memory where there is room."""
    above = Path("/dev/shm")
    roomy = os.access(above, os.W_OK) and shutil.disk_usage(above).free > 3 << 30
    made = Path(tempfile.mkdtemp(prefix="gpurun-test-", dir=above if roomy else None))
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize(
    ("size_bytes", "cuts", "rtt_s"),
    [
        pytest.param(128 * MIB, 10, 0.001, id="near"),
        pytest.param(1024 * MIB, 50, 0.04, id="far", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
def test_cuts_cost_next_to_nothing(
    disk: Path, make_sshd: Callable[..., Any], size_bytes: int, cuts: int, rtt_s: float
) -> None:
    if shutil.disk_usage(disk).free < 3 * size_bytes:
        pytest.skip("no room for it on this disk")
    sshd = make_sshd(HOME=str(disk))
    sshd.start()
    root, there = disk / "code", disk / RemoteLayout("r").code
    root.mkdir()
    fill(root / "big", size_bytes)
    (root / "small").write_bytes(b"x")
    relay = Relay(sshd.port, size_bytes // (cuts + 1), cuts, counts_up=True)
    lines = Lines(sshd.endpoint(port=relay.port))
    lines.rtt_s = rtt_s  # as if measured: several lanes and their windows, or one
    try:
        sent_bytes = push_until_it_holds(lines, root)
    finally:
        lines.close()
        relay.close()
    assert relay.cuts == cuts
    assert digest(there / "big") == digest(root / "big")
    assert (there / "small").read_bytes() == b"x"
    assert size_bytes <= relay.carried_bytes < 1.1 * size_bytes
    assert sent_bytes < 1.1 * size_bytes


def push_until_it_holds(lines: Lines, root: Path) -> int:
    """As a run does: a question that is cut ends an attempt, and the next one goes on. Gives what the last one sent."""

    def silent(progress: TransferProgress) -> None:
        """Nobody watches."""

    for _ in range(ATTEMPTS):
        with contextlib.suppress(HostUnreachable):
            scanned = scan(root, ignore=ignore.nothing())
            return upload.push(lines, scanned, RemoteLayout("r").code, silent, "code").sent_bytes
    raise AssertionError("no attempt came through")
