"""How far an upload is: counted from any thread, told from one."""

from __future__ import annotations

import threading
from collections.abc import Collection

from launcher.domain import TransferProgress
from launcher.sync.local.tree import Item
from launcher.sync.telling import Report


class Progress:
    """Bytes and files that were sent, and those that lay there already."""

    def __init__(self, report: Report, label: str) -> None:
        self.files = 0
        """Whose content was sent."""
        self.size_bytes = 0
        """Of contents that were sent, before compression."""
        self.sent_bytes = 0
        """Over the line, by what has ended."""
        self.reused_bytes = 0
        self._report = report
        self._label = label
        self._lock = threading.Lock()
        self._done_files = 0
        self._total_bytes = 0
        self._total_files = 0

    def begin(self, items: Collection[Item], todo: Collection[Item]) -> None:
        """All files, and those of them that may have to be sent."""
        self._total_bytes = sum(item.size_bytes for item in items)
        self._total_files = sum(item.kind == "f" for item in items)
        self.reused_bytes = self._total_bytes - sum(item.size_bytes for item in todo)
        self._done_files = self._total_files - len(todo)

    def moved(self, size_bytes: int, *, files: int) -> None:
        """So much was sent and has arrived."""
        with self._lock:
            self.size_bytes += size_bytes
            self.files += files
            self._done_files += files

    def reused(self, size_bytes: int, *, files: int = 0) -> None:
        """So much lay there already."""
        with self._lock:
            self.reused_bytes += size_bytes
            self._done_files += files

    def tell(self, connections: int = 0, sent_bytes: int = 0) -> None:
        """Say how far it is; `sent_bytes` of what has not ended."""
        with self._lock:
            now = TransferProgress(
                label=self._label,
                done_bytes=min(self._total_bytes, self.size_bytes + self.reused_bytes),
                total_bytes=self._total_bytes,
                done_files=min(self._total_files, self._done_files),
                total_files=self._total_files,
                sent_bytes=self.sent_bytes + sent_bytes,
                reused_bytes=self.reused_bytes,
                connections=connections,
            )
        self._report(now)
