"""What came home, and streams that die on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.domain import TransferProgress
from launcher.errors import HostUnreachable
from launcher.sync.wire.growth import MOST_LANES


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def no_partials(dest: Path) -> bool:
    return not list(dest.glob(".partial*"))


def cut_every(lines: Any, size_bytes: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every stream die after so many bytes; gives what each of them brought."""
    brought: list[int] = []

    def cutting(original: Any) -> Any:
        def open_cutting(command: str) -> Any:
            stream, number = original(command), len(brought)
            brought.append(0)
            read = stream.read

            def read_some(size: int) -> bytes:
                if brought[number] > size_bytes:
                    stream.cut()
                    raise HostUnreachable("cut")
                data: bytes = read(size)
                brought[number] += len(data)
                return data

            stream.read = read_some
            return stream

        return open_cutting

    for line in (lines.control, *map(lines.bulk, range(MOST_LANES))):
        connection = line.connection
        monkeypatch.setattr(connection, "open", cutting(connection.open))
    return brought
