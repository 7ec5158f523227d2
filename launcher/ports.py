"""The seams: what one room asks of another, so that either side can be replaced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from launcher.domain import Endpoint, TransferProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A command that ended on the machine."""

    status: int
    stdout: bytes
    stderr: bytes


class Stream(Protocol):
    """A running remote command's standard input and output, as bytes."""

    def write(self, data: bytes) -> None:
        """Send all of `data` to its standard input; raises `RemoteError` when the line is dead."""

    def close_input(self) -> None:
        """End its standard input."""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of its standard output; empty at the end; raises `RemoteError` on a dead line."""

    def finish(self) -> Completed:
        """Wait for its end; `stdout` holds only what was not read."""

    def alive(self) -> bool:
        """Whether it may still be written to and read from, as far as is known without asking."""

    def close(self) -> None:
        """Drop it, whatever its state."""


class Connection(Protocol):
    """A line to one machine; opened once, used for everything."""

    @property
    def idle(self) -> list[Stream]:
        """Channels to the agent that wait for their next use."""

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        """Run a shell command to its end; raises `RemoteError` on a dead line, not on a status."""

    def open(self, command: str) -> Stream:
        """Start a shell command and stream to and from it."""

    def subsystem(self, name: str) -> Stream | None:
        """Start a subsystem, such as `sftp`; `None` where there is none; raises as `open` does."""

    def alive(self) -> bool:
        """Whether the line still answers, as far as is known without asking."""

    def close(self) -> None:
        """Hang up; harmless when done twice."""


class Line(Protocol):
    """The connection to one machine, whichever is the present one."""

    def current(self) -> Connection:
        """The present connection, dead or alive; opened where there was none."""

    def fresh(self, timeout_s: float) -> Connection:
        """A live connection, the present one or a new one; raises `HostUnreachable`."""

    def close(self) -> None:
        """Hang up; harmless when done twice."""


class Lines(Protocol):
    """All lines to one machine."""

    @property
    def endpoint(self) -> Endpoint | None:
        """Where SSH finds the machine; `None` for this one."""

    @property
    def control(self) -> Line:
        """For short questions."""

    @property
    def log(self) -> Line:
        """For what comes for as long as the job runs."""

    @property
    def rtt_s(self) -> float | None:
        """How long a question and its answer take, once that was measured."""

    def bulk(self, number: int) -> Line:
        """One of those that carry contents, counted from 0."""

    def warm(self) -> None:
        """Have ready, in the background, what a transfer will use."""

    def close(self) -> None:
        """Hang all of them up; harmless when done twice."""


class Reporter(Protocol):
    """Who tells the user what goes on: a terminal, a pipe, JSON lines, or nobody."""

    def phase(self, name: str, detail: str = "") -> None:
        """A step of the run begins."""

    def note(self, message: str) -> None:
        """Something worth a line."""

    def warn(self, message: str) -> None:
        """Something that the user may have to act on."""

    def transfer(self, progress: TransferProgress) -> None:
        """A transfer moved on; called often, drawn seldom."""

    def log(self, data: bytes) -> None:
        """Bytes of the job's log, in order, none twice."""

    def close(self) -> None:
        """Say what is still unsaid and leave the terminal clean; nothing follows."""
