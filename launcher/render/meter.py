"""The figures of a transfer: its rate, the time left, and what it came to."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from launcher.render.text import size

if TYPE_CHECKING:
    from launcher.domain import TransferProgress

WINDOW_S = 5.0
SAMPLE_EVERY_S = 0.1
SHORTEST_S = 0.2
"""Over less time there is no rate to speak of."""


class Meter:
    """One transfer over time; `now` is in seconds of any one clock."""

    def __init__(self, progress: TransferProgress, now: float) -> None:
        self.progress = progress
        self.began = now
        self.told_at: float | None = None
        """When the transfer was last shown, by whoever shows it."""
        self._samples = deque([(now, _moved(progress))])

    def add(self, progress: TransferProgress, now: float) -> None:
        """Take in how far it is."""
        self.progress = progress
        moved = _moved(progress)
        if moved < self._samples[-1][1]:
            # Begun again, after a cut.
            self._samples.clear()
        if not self._samples or now - self._samples[-1][0] >= SAMPLE_EVERY_S:
            self._samples.append((now, moved))
        while len(self._samples) > 1 and now - self._samples[1][0] >= WINDOW_S:
            self._samples.popleft()

    def elapsed_s(self, now: float) -> float:
        """Since its first word."""
        return max(now - self.began, 0.0)

    def rate(self, now: float) -> float | None:
        """Bytes a second over the last seconds; `None` while it is too early to tell."""
        moved = _moved(self.progress)
        past = [(at, then) for at, then in self._samples if now - at <= WINDOW_S] or [(now - WINDOW_S, moved)]
        at, then = past[0]
        return (moved - then) / (now - at) if now - at >= SHORTEST_S else None

    def left_s(self, now: float) -> float | None:
        """Until its end at the present rate; `None` where that cannot be told."""
        rate = self.rate(now)
        left_bytes = self.progress.total_bytes - self.progress.done_bytes
        return left_bytes / rate if rate and left_bytes > 0 else None


def summary(progress: TransferProgress, elapsed_s: float) -> str:
    """What a transfer came to, in one line."""
    files = f"{progress.done_files} file{'' if progress.done_files == 1 else 's'}"
    whole = f"{progress.label}: {files}, {size(progress.done_bytes)} in {elapsed_s:.1f} s"
    saved = _saved(progress)
    return f"{whole} ({saved})" if saved else whole


def _saved(progress: TransferProgress) -> str:
    """What compression and delta saved; empty where nothing is known of either."""
    there = min(progress.reused_bytes, progress.done_bytes)
    needed = progress.done_bytes - there
    if there and not needed:
        return "all of it was there already"
    if not progress.sent_bytes:
        return f"{size(there)} were there already" if there else ""
    parts = []
    if progress.sent_bytes < 0.99 * needed:
        parts.append(f"compression saved {100 * (1 - progress.sent_bytes / needed):.0f} %")
    if there:
        parts.append(f"{size(there)} were there already")
    return f"{size(progress.sent_bytes)} sent" + (": " + ", ".join(parts) if parts else "")


def _moved(progress: TransferProgress) -> int:
    """What had to be moved, and was: what the far side had all along says nothing of the line."""
    return progress.done_bytes - min(progress.reused_bytes, progress.done_bytes)
