"""The log over a real sshd, through a network that breaks."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import RemoteError
from launcher.sync import remote_agent, stream
from launcher.sync.layout import RemoteLayout
from launcher.sync.ssh.connection import Line

LINES = 10_000_000
CUTS = 50
LINES_AT_ONCE = 100_000
AHEAD = 5
"""How many portions the job may write that have not come home yet: it writes while it is read, to the end."""

WRITER = f"""
exec python3 -c '
import os
words = os.open("words", os.O_RDONLY)
for begin in range(0, {LINES}, {LINES_AT_ONCE}):
    left = memoryview(b"".join(b"%d\\n" % number for number in range(begin, begin + {LINES_AT_ONCE})))
    while left: left = left[os.write(1, left):]
    if begin >= {AHEAD * LINES_AT_ONCE}: os.read(words, 1)
os.write(2, b"the end")
os._exit(7)
'
"""


class BreakingNetwork:
    """A way to a port of this machine that breaks when so many more bytes have come back over it."""

    def __init__(self, port: int) -> None:
        self.cuts = 0
        self.cut_after_bytes: int | None = None
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in self._open:
            _hang_up(each)
        for thread in self._threads:
            thread.join()
        for each in (self._listener, *self._open):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._open += [near, far]
            for source, sink, back in ((near, far, False), (far, near, True)):
                thread = threading.Thread(target=self._carry, args=(source, sink, back))
                self._threads.append(thread)
                thread.start()

    def _carry(self, source: socket.socket, sink: socket.socket, back: bool) -> None:
        try:
            while data := source.recv(65536):
                if back and self.cut_after_bytes is not None:
                    self.cut_after_bytes -= len(data)
                    if self.cut_after_bytes <= 0:
                        # What was left of the frame never comes.
                        sink.sendall(data[: self.cut_after_bytes or None])
                        self.cut_after_bytes = None
                        self.cuts += 1
                        break
                sink.sendall(data)
        except OSError:
            pass
        _hang_up(source)
        _hang_up(sink)


def _hang_up(side: socket.socket) -> None:
    try:
        side.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


@pytest.fixture
def network(sshd: Any) -> Iterator[BreakingNetwork]:
    between = BreakingNetwork(sshd.port)
    yield between
    between.close()


@pytest.fixture
def line(sshd: Any, network: BreakingNetwork) -> Iterator[Line]:
    opened = Line(sshd.endpoint(port=network.port))
    yield opened
    opened.close()


@pytest.fixture
def code(sshd: Any, layout: RemoteLayout) -> Path:
    """The folder that a job starts in."""
    folder: Path = sshd.home / layout.code
    folder.mkdir(parents=True)
    return folder


@pytest.mark.slow
def test_ten_million_lines_and_fifty_cuts(
    line: Line, network: BreakingNetwork, code: Path, layout: RemoteLayout, job: Any
) -> None:
    os.mkfifo(code / "words")
    words = os.open(code / "words", os.O_RDWR)
    dice = random.Random(11)
    remote_agent.start(line.fresh(20.0), layout, job(WRITER))
    told: list[RemoteError] = []
    follower = stream.follow(lambda: line.fresh(20.0), layout, on_lost=told.append)
    digest, portions, armed = hashlib.sha256(), 0, 0
    line_ends = 0
    for data in follower:
        digest.update(data)
        line_ends += data.count(b"\n")
        while line_ends // LINES_AT_ONCE > portions:
            portions += 1
            os.write(words, b".")
        if armed == network.cuts < CUTS:
            armed += 1
            network.cut_after_bytes = dice.randrange(1, 400_000)
    os.close(words)
    whole = hashlib.sha256()
    for begin in range(0, LINES, LINES_AT_ONCE):
        whole.update(b"".join(b"%d\n" % number for number in range(begin, begin + LINES_AT_ONCE)))
    whole.update(b"the end")
    assert network.cuts == CUTS
    assert len(told) > CUTS / 2
    assert (follower.report.exit_status, follower.report.log_bytes) == (7, follower.offset)
    assert digest.hexdigest() == whole.hexdigest()


@pytest.mark.usefixtures("code")
def test_a_line_comes_at_once(line: Line, layout: RemoteLayout, job: Any) -> None:
    script = "exec python3 -c 'import time\nfor _ in range(100): print(time.time(), flush=True); time.sleep(0.02)'"
    remote_agent.start(line.fresh(20.0), layout, job(script))
    lags_s: list[float] = []
    for data in stream.follow(lambda: line.fresh(20.0), layout):
        now = time.time()
        lags_s += [now - float(text) for text in data.split()]
    assert len(lags_s) == 100
    # Of those written while it was followed; this machine may be busy with other tests.
    assert statistics.median(lags_s[20:]) < 0.05
