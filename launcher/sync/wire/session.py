"""Channels to the agent: it is installed where it is missing, and a channel that was opened is kept for the next."""

from __future__ import annotations

import hashlib
import json
import zlib
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from launcher.agent.files import HOME_VARIABLE
from launcher.errors import CommandFailed, HostUnreachable, NoPython
from launcher.sync.layout import agent_path
from launcher.sync.names import TOLD_LIMIT, told
from launcher.sync.wire.frames import MAGIC, Json, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.ports import Connection

PYTHON = "python3 -IS -X utf8"
"""Isolated from the user's own settings; file names are UTF-8 whatever the locale."""
ABSENT = b"gpurun-agent absent\n"
KEPT_SESSIONS = 3
"""Idle ones of a connection: sshd allows ten sessions."""

_BOOT = (
    'import os,sys;d=os.path.join(os.environ.get("{home}")or os.path.expanduser("~"),"{path}");'
    'os.path.isdir(d) or os.write(1,b"{absent}%c"%10) and '
    'exec(__import__("zlib").decompress(sys.stdin.buffer.read({size})));'
    "sys.path.insert(0,d);from agent.serve import serve;serve()"
)
"""One line without a quote that a login shell of any kind would read otherwise."""
_INSTALL = """
import os, sys
os.umask(0o077)
partial = "%s.%d" % (d, os.getpid())
os.makedirs(partial + "/agent")
for name, text in {files!r}.items():
    with open(partial + "/agent/" + name, "w", encoding="utf-8") as file:
        file.write(text)
try:
    os.rename(partial, d)
except OSError:
    if not os.path.isdir(d):
        raise
"""


class _Package(NamedTuple):
    """The agent as it is sent."""

    digest: str
    installer: bytes


@contextmanager
def session(connection: Connection) -> Iterator[Wire]:
    """A channel to the agent: one that an earlier caller left open, or a new one; kept in the end unless it failed.

    Raises `RemoteError` where the line is dead or the machine has no python3.
    """
    wire = _kept(connection) or open_session(connection)
    try:
        yield wire
    except BaseException:
        wire.close()
        raise
    if wire.quiet and len(connection.idle) < KEPT_SESSIONS:
        connection.idle.append(wire.stream)
    else:
        wire.close()


def ask(wire: Wire, **request: Json) -> dict[str, Json]:
    """Send one request and read its answer; raises `RemoteError`."""
    wire.send_json(request)
    return wire.receive_json()


def install_agent(connection: Connection) -> None:
    """See that the agent is on the machine and answers; raises `RemoteError`."""
    with session(connection):
        pass


def open_session(connection: Connection) -> Wire:
    """A channel of one's own, never kept; its agent is installed on the way where it is missing.

    Raises `RemoteError`.
    """
    package = _package()
    stream = connection.open(f"exec {PYTHON} -c '{_boot(package)}'")
    wire = Wire(stream)
    try:
        said = wire.await_line(ABSENT, MAGIC)
        if said == ABSENT:
            stream.write(package.installer)
            said = wire.await_line(MAGIC)
        if said == MAGIC:
            return wire
        done = stream.finish()
    except HostUnreachable:
        stream.close()
        raise
    except CommandFailed as failed:
        # It died before it had read the installer; what it said tells why.
        stream.close()
        raise _no_answer(failed.status or 0, told(failed.stderr[-TOLD_LIMIT:])) from None
    stream.close()
    if done.status == 127:
        raise NoPython(
            "the machine has no python3, which the agent needs",
            hint="install python3 3.8 or later there, or choose an image that has it",
        )
    raise _no_answer(done.status, _text(done.stderr))


def _kept(connection: Connection) -> Wire | None:
    while True:
        try:
            stream = connection.idle.pop()
        except IndexError:  # asked for and not looked at first: another thread may take the last one
            return None
        if stream.alive():
            return Wire(stream)
        stream.close()


def _no_answer(status: int, stderr: str) -> CommandFailed:
    full = "No space left" in stderr or "quota" in stderr.lower()
    # Python's last line says what it was; the rest is where.
    said = stderr.rpartition("\n")[2].strip() or stderr
    said = said.rpartition("Traceback (most recent call last)")[2].rpartition(", in <module> ")[2] or said
    closed = "Permission denied" in stderr or "Read-only file system" in stderr or "Not a directory" in stderr
    hint = "gpurun ssh RUN python3 --version   (3.8 or later is needed)"
    return CommandFailed(
        f"the agent does not answer on the machine: {said or f'exit status {status}'}",
        hint="gpurun ssh RUN df -h ~" if full else "let yourself write to the folder gpurun there" if closed else hint,
        status=status,
        stderr=stderr,
    )


def _boot(package: _Package) -> str:
    return _BOOT.format(
        path=agent_path(package.digest),
        home=HOME_VARIABLE,
        absent=ABSENT.decode().rstrip(),
        size=len(package.installer),
    )


@cache
def _package() -> _Package:
    """The agent's sources and what unpacks them there; read once, since they do not change under a running program."""
    folder = resources.files("launcher.agent")
    files = {item.name: item.read_text(encoding="utf-8") for item in folder.iterdir() if item.name.endswith(".py")}
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return _Package(digest, zlib.compress(_INSTALL.format(files=files).encode(), 6))


def _text(data: bytes) -> str:
    """The end of it, where the reason stands, fit for a terminal."""
    return told(data[-TOLD_LIMIT:].decode(errors="replace"))
