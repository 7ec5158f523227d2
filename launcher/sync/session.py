"""One open channel to the agent: a request costs one round trip, and the agent is installed where it is missing."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import launcher
from launcher.errors import CommandFailed, RemoteError
from launcher.sync.frames import Json, Wire
from launcher.sync.layout import AGENTS, agent_path
from launcher.sync.names import TOLD_LIMIT, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.ports import Connection

PYTHON = "python3 -IS -X utf8"
"""Isolated from the user's own settings; file names are UTF-8 whatever the locale."""


@contextmanager
def session(connection: Connection) -> Iterator[Wire]:
    """Open a channel to the agent and close it in the end.

    Raises `RemoteError` where the line is dead or the machine has no python3.
    """
    wire = open_session(connection)
    try:
        yield wire
    finally:
        wire.close()


def ask(wire: Wire, **request: Json) -> dict[str, Json]:
    """Send one request and read its answer; raises `RemoteError`."""
    wire.send_json(request)
    return wire.receive_json()


def install_agent(connection: Connection) -> None:
    """Send the agent, into its place in one step; harmless when done twice. Raises `RemoteError`."""
    path = agent_path(_digest())
    command = (
        "sh -c 'command -v python3 >/dev/null || exit 127;"
        f" umask 077 && mkdir -p {AGENTS} && cat > {path}.$$ && mv -f {path}.$$ {path}'"
    )
    done = connection.run(command, stdin=_source())
    if done.status == 127:
        raise _no_python()
    if done.status:
        raise CommandFailed(
            f"the agent could not be put on the machine: {_text(done.stderr)}",
            hint="gpurun ssh RUN df -h ~",
            status=done.status,
            stderr=_text(done.stderr),
        )


def open_session(connection: Connection) -> Wire:
    """As `session`, for a caller that closes it itself."""
    command = f"exec {PYTHON} {agent_path(_digest())} serve"
    for attempt in range(2):
        stream = connection.open(command)
        wire = Wire(stream)
        if wire.greet():
            return wire
        done = stream.finish()
        stream.close()
        if done.status == 127:
            raise _no_python()
        if b"can't open file" not in done.stderr or attempt:
            break
        install_agent(connection)
    raise CommandFailed(
        f"the agent does not answer on the machine: {_text(done.stderr) or f'exit status {done.status}'}",
        hint="gpurun ssh RUN python3 --version   (3.8 or later is needed)",
        status=done.status,
        stderr=_text(done.stderr),
    )


def _no_python() -> RemoteError:
    return RemoteError(
        "the machine has no python3, which the agent needs", hint="choose an image that has python3 3.8 or later"
    )


def _source() -> bytes:
    return (Path(launcher.__file__).parent / "agent.py").read_bytes()


def _digest() -> str:
    return hashlib.sha256(_source()).hexdigest()


def _text(data: bytes) -> str:
    """The end of it, where the reason stands, fit for a terminal."""
    return told(data[-TOLD_LIMIT:].decode(errors="replace"))
