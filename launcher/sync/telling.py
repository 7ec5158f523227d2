"""What whoever asked for a transfer is told while it goes on."""

from __future__ import annotations

from collections.abc import Callable

from launcher.domain import TransferProgress

Report = Callable[[TransferProgress], None]
"""How far it is."""
Note = Callable[[str], None]
"""What else a user should know, in words."""


def silent(_: object) -> None:
    """For callers who want none of it."""
