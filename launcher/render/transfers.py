"""The transfers of a run, each from its first word to its last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.render.meter import Meter

if TYPE_CHECKING:
    from launcher.domain import TransferProgress


class Transfers:
    """Those that are under way, by label, in the order of their beginning."""

    def __init__(self) -> None:
        self._open: dict[str, Meter] = {}
        self._last: TransferProgress | None = None

    def take(self, progress: TransferProgress, now: float) -> Meter | None:
        """The meter of this transfer; `None` where its end was told before."""
        if progress == self._last:
            return None
        meter = self._open.get(progress.label)
        if meter is None:
            meter = self._open[progress.label] = Meter(progress, now)
        meter.progress = progress
        self._last = None
        if progress.finished:
            del self._open[progress.label]
            self._last = progress
        return meter

    def first(self) -> Meter | None:
        """The one that began first of those under way."""
        return next(iter(self._open.values()), None)

    def end(self) -> list[Meter]:
        """Forget them all; gives those that had no known end, and so are over. Others broke off."""
        over = [meter for meter in self._open.values() if not meter.progress.total_bytes + meter.progress.total_files]
        self._open.clear()
        self._last = None
        return over
