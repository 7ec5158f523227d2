"""The same over a real sshd: code up, the job, its log, results home."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.domain import TransferProgress
from launcher.sync import remote_agent, stream
from launcher.sync.down import download
from launcher.sync.layout import RemoteLayout
from launcher.sync.local import ignore, tree
from launcher.sync.up import upload
from launcher.sync.wire.lines import Lines


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


@pytest.fixture
def lines(sshd: Any) -> Iterator[Lines]:
    opened = Lines(sshd.endpoint())
    yield opened
    opened.close()


def test_a_whole_run(tmp_path: Path, lines: Lines, layout: RemoteLayout, job: Any, gate: Any) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("print('epoch 1')\n")
    for number in range(300):
        (code / f"{number}.txt").write_bytes(os.urandom(2000))
    (code / "big").write_bytes(os.urandom(3_000_000))
    connection = lines.control.fresh(20.0)
    remote_agent.install(connection, layout)
    sent = upload.push(lines, tree.scan(code, ignore=ignore.rules(code)), layout.code, silent, "code")
    assert sent.files == 302
    script = f'python3 train.py; cp big "$GPURUN_OUTPUT_DIR/weights"; {gate.wait}; seq 200000; exit 5'
    remote_agent.start(connection, layout, job(script))
    told: list[Exception] = []
    follower = stream.follow(lambda: lines.log.fresh(20.0), layout, on_lost=told.append)
    got = next(follower)
    # The machine hangs up in the middle: another connection goes on where the log broke off.
    lines.log.current().close()
    gate.open()
    got += b"".join(follower)
    assert told
    assert got == b"epoch 1\n" + b"".join(b"%d\n" % number for number in range(1, 200_001))
    assert follower.report.exit_status == 5
    home = download.pull(lines, layout.output, tmp_path / "home", silent, "results")
    assert (tmp_path / "home/weights").read_bytes() == (code / "big").read_bytes()
    assert home.size_bytes == 3_000_000
