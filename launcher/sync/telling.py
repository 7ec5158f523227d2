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


class Overheard:
    """Passes progress on, and remembers how much went over the line."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.sent_bytes = 0

    def __call__(self, progress: TransferProgress) -> None:
        """Take the news of a transfer."""
        self.sent_bytes = progress.sent_bytes
        self._report(progress)
