"""How far a download is: counted from all threads, told in the one that waits."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from launcher.domain import TransferProgress
from launcher.sync.down.listing import Far
from launcher.sync.telling import Report


class Tally:
    """Counts what is home; told in the thread that waits."""

    def __init__(self, report: Report, label: str, files: Sequence[Far]) -> None:
        self._report = report
        self._label = label
        self._sizes = {far.name: far.size_bytes for far in files}
        self._total_bytes = sum(self._sizes.values())
        self._total_files = len(files)
        self._done_bytes = self._reused_bytes = self._received_bytes = 0
        self._connections = 0
        self._here: dict[str, int] = {}
        self._done: set[str] = set()
        self._lock = threading.Lock()

    @property
    def left_bytes(self) -> int:
        """Still to come."""
        return self._total_bytes - self._done_bytes

    def moved(self, far: Far, size_bytes: int) -> None:
        """So many bytes more of that file."""
        with self._lock:
            self._count(far.name, size_bytes)

    def reused(self, far: Far, size_bytes: int) -> None:
        """So many bytes of it were here."""
        with self._lock:
            self._count(far.name, size_bytes)
            self._reused_bytes += size_bytes

    def received(self, size_bytes: int) -> None:
        """So much came over the line."""
        with self._lock:
            self._received_bytes += size_bytes

    def file_done(self, far: Far) -> None:
        """One file is in its place, whole."""
        with self._lock:
            self._count(far.name, far.size_bytes - self._here.get(far.name, 0))
            self._done.add(far.name)

    def forget(self, far: Far, size_bytes: int | None) -> None:
        """It begins anew, with that size; `None`: it does not come."""
        with self._lock:
            self._done_bytes -= self._here.pop(far.name, 0)
            self._done.discard(far.name)
            before = self._sizes.pop(far.name, 0)
            self._total_bytes += (size_bytes or 0) - before
            if size_bytes is None:
                self._total_files -= 1
            else:
                self._sizes[far.name] = size_bytes

    def _count(self, name: str, size_bytes: int) -> None:
        self._here[name] = self._here.get(name, 0) + size_bytes
        self._done_bytes += size_bytes

    def tell(self, connections: int = 0) -> None:
        """Report how far it is."""
        self._connections = connections or self._connections
        with self._lock:
            now = TransferProgress(
                label=self._label,
                done_bytes=self._done_bytes,
                total_bytes=self._total_bytes,
                done_files=len(self._done),
                total_files=self._total_files,
                sent_bytes=self._received_bytes,
                reused_bytes=self._reused_bytes,
                connections=self._connections,
            )
        self._report(now)
