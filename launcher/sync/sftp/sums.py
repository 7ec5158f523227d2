"""The sha256 of files on a machine without python3, by its own sha256sum(1), where it has that."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Sequence

from launcher.errors import CommandFailed
from launcher.ports import Connection

COMMAND_LIMIT_BYTES = 1 << 16
"""Half of what Linux takes for one argument, which the whole command is to the login shell."""
TIMEOUT_S = 60.0
SLOWEST_BYTES_PER_S = 20e6
_LINE = re.compile(rb"([0-9a-f]{64}) [ *](.+)")


class Sums:
    """Asks a machine; `root` is an absolute path there."""

    def __init__(self, connection: Connection, root: bytes) -> None:
        self._connection = connection
        self._root = root
        self.there = self._run("sha256sum </dev/null", 0).startswith(hashlib.sha256().hexdigest().encode())
        """Whether the machine has sha256sum and lets us run it."""

    def of(self, folder: str, sizes: dict[str, int]) -> dict[str, str]:
        """The sha256 of the files `sizes` names, relative to `folder`; those that cannot be read are left out.

        Raises `RemoteError` on a dead line.
        """
        found: dict[str, str] = {}
        where = shlex.quote(_joined(self._root, folder))
        # sha256sum writes a name with a line break or a backslash another way: such are asked for one by one.
        odd = [name for name in sizes if "\n" in name or "\\" in name]
        for name in odd:
            match = _LINE.match(self._run(f"cd {where} && sha256sum <{shlex.quote(f'./{name}')}", sizes[name]))
            if match:
                found[name] = match[1].decode()
        for names in _batches([name for name in sizes if name not in set(odd)]):
            files = " ".join(shlex.quote(f"./{name}") for name in names)
            output = self._run(f"cd {where} && sha256sum {files}", sum(sizes[name] for name in names))
            for match in filter(None, map(_LINE.fullmatch, output.split(b"\n"))):
                found[match[2].decode("utf-8", "surrogateescape").removeprefix("./")] = match[1].decode()
        return found

    def _run(self, command: str, size_bytes: int) -> bytes:
        try:
            return self._connection.run(command, timeout_s=TIMEOUT_S + size_bytes / SLOWEST_BYTES_PER_S).stdout
        except CommandFailed:
            return b""


def _joined(root: bytes, folder: str) -> str:
    path = root.decode("utf-8", "surrogateescape")
    return f"{path}/{folder}" if folder else path


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    filled = 0
    for name in names:
        size = len(shlex.quote(name).encode("utf-8", "surrogateescape")) + 4
        if batch and filled + size > COMMAND_LIMIT_BYTES:
            yield batch
            batch, filled = [], 0
        batch.append(name)
        filled += size
    if batch:
        yield batch
