"""A connection to this very machine: real shells, real pipes, a home folder of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from launcher.errors import HostUnreachable
from launcher.ports import Completed, Stream
from launcher.sync.layout import RemoteLayout
from launcher.sync.remote_agent import AgentJob


class LocalStream:
    """A shell command of this machine; whole bytes, either way, at once."""

    def __init__(self, command: str, environment: dict[str, str], home: Path) -> None:
        self.process = subprocess.Popen(
            ["bash", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=home,
            env=environment,
            bufsize=0,
        )
        assert self.process.stdin
        assert self.process.stdout
        self.input, self.output = self.process.stdin, self.process.stdout
        self.dropped = False

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self.input.write(view) :]
        except (BrokenPipeError, ValueError) as error:
            raise HostUnreachable(f"the pipe is broken: {error}") from None

    def close_input(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.input.close()

    def read(self, size: int) -> bytes:
        if self.dropped:
            return b""
        try:
            data = os.read(self.output.fileno(), size)
        except (OSError, ValueError):
            # Closed by another thread, as a channel is.
            raise HostUnreachable("the stream was closed") from None
        if not data and self.process.wait() < 0:
            raise HostUnreachable("the command was killed")
        return data

    def finish(self) -> Completed:
        self.close_input()
        rest = b"".join(iter(lambda: self.read(65536), b""))
        assert self.process.stderr
        errors = self.process.stderr.read()
        return Completed(status=self.process.wait(), stdout=rest, stderr=errors)

    def cut(self) -> None:
        """What a dead network does: no farewell."""
        self.process.kill()

    def alive(self) -> bool:
        return not self.dropped and self.process.poll() is None

    def close(self) -> None:
        self.dropped = True
        self.close_input()
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if not self.output.closed and self.process.stderr:
            self.process.stderr.close()


@dataclass
class LocalConnection:
    """`ports.Connection` to a home folder on this machine."""

    home: Path
    environment: dict[str, str]
    streams: list[LocalStream] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    idle: list[Stream] = field(default_factory=list)

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        stream = self.open(command)
        try:
            # A command that ends early shows by its status, as it does over SSH.
            with contextlib.suppress(HostUnreachable):
                stream.write(stdin)
            return stream.finish()
        finally:
            stream.close()

    def open(self, command: str) -> LocalStream:
        self.commands.append(command)
        stream = LocalStream(command, self.environment, self.home)
        self.streams.append(stream)
        return stream

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        for stream in self.streams:
            stream.close()
            for pipe in (stream.output, stream.process.stderr):
                if pipe:
                    pipe.close()


@dataclass
class LocalLine:
    """`ports.Line`: the same connection as long as it lives."""

    connection: LocalConnection

    def fresh(self, timeout_s: float) -> LocalConnection:
        return self.connection

    def close(self) -> None:
        self.connection.close()


class LocalLines:
    """`ports.Lines`: each with streams of its own, all to the same home."""

    rtt_s: float | None = None

    def __init__(self, connection: LocalConnection) -> None:
        self.control = LocalLine(connection)
        self.bulks: dict[int, LocalLine] = {}

    def bulk(self, number: int) -> LocalLine:
        first = self.control.connection
        return self.bulks.setdefault(number, LocalLine(LocalConnection(first.home, first.environment)))

    def close(self) -> None:
        for line in self.bulks.values():
            line.close()


@pytest.fixture
def lines(connection: LocalConnection) -> Iterator[LocalLines]:
    """All lines to `connection`'s home."""
    found = LocalLines(connection)
    yield found
    found.close()


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[LocalConnection]:
    """This machine, with a home below tmp_path; every process that was started in it is ended."""
    home = tmp_path / "remote home ü"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "GPURUN_TEST_HOME": str(home)}
    environment["AWS_EC2_METADATA_DISABLED"] = "true"
    line = LocalConnection(home=home, environment=environment)
    yield line
    line.close()
    for _ in range(2):
        for process in _processes_of(home):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _processes_of(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get("GPURUN_TEST_HOME") == str(home):
                found.append(process)
    return found


@pytest.fixture
def layout() -> RemoteLayout:
    return RemoteLayout("digits-7f3a")


@pytest.fixture
def job() -> Callable[..., AgentJob]:
    """A job on a machine that is not ours to power off, unless told otherwise."""

    def make(script: str = "", **changes: object) -> AgentJob:
        values: dict[str, object] = {
            "script": script,
            "device": "cpu",
            "floatx": "float32",
            "grace_s": 5.0,
            "deadline_in_s": 0.0,
            "results_grace_s": 0.0,
            "lease_s": 60.0,
            "owned": False,
        }
        return AgentJob(**{**values, **changes})  # type: ignore[arg-type]

    return make


@dataclass(frozen=True)
class Gate:
    """Holds a job's script up until the test goes on."""

    path: Path

    @property
    def wait(self) -> str:
        """A command of the script."""
        return f'read opened < "{self.path}"'

    def open(self) -> None:
        """Once the script has come to it."""
        self.path.write_text("\n")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    os.mkfifo(tmp_path / "gate")
    return Gate(tmp_path / "gate")
