"""The launchers of a comparison's runs: each a process of its own, so that one that dies takes nothing along."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from launcher import ownprocess
from launcher.domain import RunId

READ_BYTES = 1 << 16
LINE_LIMIT_BYTES = 1 << 22
"""A longer line is none of our events."""
END_TIMEOUT_S = 30.0
"""How long a process may take to leave once it has nothing more to say."""


@dataclass(slots=True, kw_only=True)
class Child:
    """A process that attends one run."""

    run_id: RunId
    process: subprocess.Popen[bytes]
    exit_status: int | None = None
    held: bytearray = field(default_factory=bytearray)

    def lines(self) -> list[bytes]:
        """The whole lines that have come."""
        whole, _, rest = bytes(self.held).rpartition(b"\n")
        self.held = bytearray(rest[-LINE_LIMIT_BYTES:])
        return whole.split(b"\n") if whole else []


class Children:
    """All of them; whoever leaves the block leaves them running.

    Each has a session of its own: a Ctrl-C of the terminal, its closing, or the end of this process reaches none.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._all: list[Child] = []

    def __enter__(self) -> Self:
        """For `with Children() as children`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no longer."""
        self._selector.close()
        for child in self._all:
            if child.process.stdout is not None:
                child.process.stdout.close()

    @property
    def living(self) -> tuple[Child, ...]:
        """Those that attend."""
        return tuple(child for child in self._all if child.exit_status is None)

    def start(self, run_id: RunId, *, errors: Path) -> Child:
        """Have a run attended to its end; what the process says that is no event goes to the file `errors`."""
        with errors.open("ab") as stderr:
            process = subprocess.Popen(
                ownprocess.command("launcher.cli", "resume", run_id, "--json"),
                env=ownprocess.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        child = Child(run_id=run_id, process=process)
        self._all.append(child)
        assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        self._selector.register(process.stdout, selectors.EVENT_READ, child)
        return child

    def ready(self, timeout_s: float) -> Sequence[Child]:
        """Those that have something to say, at once where there are some; nothing is lost where a signal strikes."""
        return [key.data for key, _ in self._selector.select(timeout_s)]

    def read(self, ready: Sequence[Child]) -> Iterator[tuple[Child, dict[str, Any]]]:
        """What they say; one that is over says `ended`."""
        for child in ready:
            output = child.process.stdout
            assert output is not None  # noqa: S101 - for the type checker: it is a pipe
            data = os.read(output.fileno(), READ_BYTES)
            child.held += data
            yield from ((child, event) for event in _events(child.lines()))
            if not data:
                self._selector.unregister(output)
                child.exit_status = _status(child.process)
                yield child, {"event": "ended", "exit_status": child.exit_status}

    def stop(self) -> None:
        """Ask every one to stop its run gently; asked again, at once."""
        for child in self.living:
            with suppress(ProcessLookupError):
                child.process.send_signal(signal.SIGTERM)


def _events(lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _status(process: subprocess.Popen[bytes]) -> int:
    """Its exit status, once it has closed its output; one that stays in spite of that attends nothing any more."""
    try:
        return process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return -1
