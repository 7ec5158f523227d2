"""The lines to this very machine: shell commands as processes of its own, over pipes, with no SSH between.

The agent's home is a private folder, so that the user's own is not littered; the job's home is the user's.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from launcher.agent.files import HOME_VARIABLE
from launcher.errors import CommandFailed, HostUnreachable, SpecError
from launcher.ports import Completed, Connection, Stream

STDERR_KEPT_BYTES = 1 << 16
CLOSE_S = 5.0
"""How long a thread that reads or writes may take to see that the command is dead."""


def shell_here(folder: Path, command: Sequence[str]) -> int:
    """The user's shell on this terminal, or a command of his, in a run's folder; returns its exit status.

    Raises `SpecError` where the run has no folder yet, or none any more.
    """
    if not folder.is_dir():
        raise SpecError(f"the run has no folder on this machine: {folder}", hint="gpurun status")
    argv = [os.environ.get("SHELL") or "/bin/sh"]
    if command:
        argv = ["/bin/sh", "-c", command[0] if len(command) == 1 else shlex.join(command)]
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)  # which the shell does not inherit
    try:
        return _status(subprocess.run(argv, cwd=folder, check=False).returncode)
    finally:
        signal.signal(signal.SIGINT, before)


class PipeStream:
    """`ports.Stream` over a local process; one thread may read while another writes."""

    def __init__(self, command: str, home: Path) -> None:
        self._command = command
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the stream)
        # A session of its own: Ctrl-C on this terminal is for the launcher.
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=home,
            env={**os.environ, HOME_VARIABLE: str(home)},
            start_new_session=True,
        )
        self._lock = threading.Lock()
        # A pipe is not closed while another thread is in it: its number may be another file's by then.
        self._reading = threading.Lock()
        self._writing = threading.Lock()

    def write(self, data: bytes) -> None:
        """Send all of `data`; raises `CommandFailed` where the command has ended."""
        view = memoryview(data)
        try:
            with self._writing:
                while view:
                    view = view[self._stdin.write(view) or 0 :]
        except (OSError, ValueError):  # a closed pipe is either
            self._process.wait()
            raise CommandFailed(
                f"the command ended before it had read all its input: {self._command[:200]}",
                status=_status(self._process.returncode),
                stderr=self._said().decode(errors="replace"),
            ) from None

    def close_input(self) -> None:
        """End the command's standard input; its output goes on."""
        with self._writing, suppress(OSError):
            self._stdin.close()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of standard output; empty at its end."""
        try:
            with self._reading:
                return self._stdout.read(size) or b""
        except ValueError:  # closed by another thread
            return b""

    def finish(self) -> Completed:
        """Wait for the command's end; `stderr` holds its last 64 KiB."""
        self.close_input()
        return self.collect()

    def collect(self) -> Completed:
        """`finish` for a stream whose input is closed elsewhere."""
        rest = b"".join(iter(lambda: self.read(STDERR_KEPT_BYTES), b""))
        status = _status(self._process.wait())
        stderr = self._said()
        self.close()
        return Completed(status=status, stdout=rest, stderr=stderr)

    def alive(self) -> bool:
        """Whether the command still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the command, where it has not ended, and what it started in its session."""
        with self._lock:
            if self._process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for pipe, used in ((self._stdin, self._writing), (self._stdout, self._reading)):
                if used.acquire(timeout=CLOSE_S):
                    with suppress(OSError):
                        pipe.close()
                    used.release()
            self._stderr.close()

    @property
    def _stdin(self) -> IO[bytes]:
        return _piped(self._process.stdin)

    @property
    def _stdout(self) -> IO[bytes]:
        return _piped(self._process.stdout)

    def _said(self) -> bytes:
        with self._lock:
            if self._stderr.closed:
                return b""
            size = self._stderr.seek(0, os.SEEK_END)
            self._stderr.seek(max(0, size - STDERR_KEPT_BYTES))
            return self._stderr.read()


def _piped(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise AssertionError
    return pipe


def _status(returned: int) -> int:
    """As a shell gives it."""
    return returned if returned >= 0 else 128 - returned


class PipeConnection:
    """`ports.Connection` to this machine: it can only be hung up, never lost."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._streams: list[PipeStream] = []
        self._closed = False
        self._lock = threading.Lock()
        self.idle: list[Stream] = []

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        """Run a shell command to its end; raises `CommandFailed` (status 124) when it takes longer."""
        stream = self.open(command)
        late = threading.Event()

        def end() -> None:
            late.set()
            stream.close()

        timer = threading.Timer(timeout_s, end)
        timer.start()
        try:
            threading.Thread(target=_feed, args=(stream, stdin), daemon=True).start()
            done = stream.collect()
        finally:
            timer.cancel()
            stream.close()
        if late.is_set():
            raise CommandFailed(f"the command did not end in time: {command[:200]}", status=124)
        return done

    def open(self, command: str) -> PipeStream:
        """Start a shell command; raises `HostUnreachable` once hung up."""
        with self._lock:
            if self._closed:
                raise HostUnreachable("the line to this machine was closed", hint="gpurun status")
            self._streams = [each for each in self._streams if each.alive()]
            stream = PipeStream(command, self._home)
            self._streams.append(stream)
            return stream

    def subsystem(self, name: str) -> Stream | None:  # noqa: ARG002  (there are none)
        """None here."""
        return None

    def alive(self) -> bool:
        """Whether it was not hung up."""
        return not self._closed

    def close(self) -> None:
        """End every command on it."""
        with self._lock:
            self._closed = True
            streams, self._streams = self._streams, []
        for stream in streams:
            stream.close()


def _feed(stream: PipeStream, data: bytes) -> None:
    with suppress(CommandFailed):  # one that reads no input need not
        stream.write(data)
    stream.close_input()


class PipeLine:
    """`ports.Line` to this machine."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._connection: PipeConnection | None = None
        self._lock = threading.Lock()

    def current(self) -> Connection:
        """The present connection; opened where there was none."""
        with self._lock:
            if self._connection is None or not self._connection.alive():
                self._connection = PipeConnection(self._home)
            return self._connection

    def fresh(self, timeout_s: float) -> Connection:  # noqa: ARG002  (nothing is waited for)
        """The same: it cannot die."""
        return self.current()

    def close(self) -> None:
        """Hang up; `fresh` would open anew."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None


class PipeLines:
    """`ports.Lines` to this machine, whose agent lives in `home`; raises `SpecError` where that cannot be made."""

    endpoint = None
    rtt_s = 0.0

    def __init__(self, home: Path) -> None:
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SpecError(
                f"runs on this machine cannot lie in {home}: {error.strerror}",
                hint="make it a folder that you can write to, or set XDG_STATE_HOME to one",
            ) from None
        self._home = home
        self._bulk: dict[int, PipeLine] = {}
        self.control = PipeLine(home)
        self.log = PipeLine(home)

    def bulk(self, number: int) -> PipeLine:
        """One of the lines that carry contents, counted from 0."""
        return self._bulk.setdefault(number, PipeLine(self._home))

    def warm(self) -> None:
        """Nothing is far."""

    def close(self) -> None:
        """Hang all of them up; harmless when done twice."""
        for line in (self.control, self.log, *list(self._bulk.values())):
            line.close()
