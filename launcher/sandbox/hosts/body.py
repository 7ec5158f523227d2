"""What a kind of host must be able to do; `host.SandboxHost` does the rest, the same for all."""

from __future__ import annotations

import socket
from typing import Any, Protocol


class Body(Protocol):
    """One host's processes and how to reach its SSH server."""

    def rise(self) -> dict[str, socket.socket]:
        """Start; returns the listeners to serve, `metadata` and, where there is one, `cloud`. Raises `GpurunError`."""

    def next_event(self) -> dict[str, Any]:
        """What the first process says next; empty once it is gone."""

    def open_ssh(self) -> None:
        """The guest is ready for SSH: returns when its server listens."""

    def dial(self) -> socket.socket:
        """A connection to its SSH server; raises `OSError`."""

    def fill(self, leave_bytes: int | None) -> None:
        """Leave that much room on its disk, or all of it again (`None`); raises `GpurunError` where it cannot."""

    def check_disk(self) -> None:
        """Raise `GpurunError` where its disk cannot be saved, with the reason."""

    def fall(self) -> None:
        """Every process of it is gone when this returns; harmless when done twice."""

    def hang_up(self) -> None:
        """Nobody asks for events or connections any more."""
