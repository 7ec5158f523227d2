"""A transfer over time, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.render.text import size

if TYPE_CHECKING:
    from launcher.domain import TransferProgress


@dataclass
class Meter:
    """One transfer; times are in seconds of any one clock."""

    progress: TransferProgress
    began: float
    told_at: float | None = None
    """When it was last shown, by whoever shows it."""

    def elapsed_s(self, now: float) -> float:
        """Since its first word."""
        return max(now - self.began, 0.0)


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


def moved_bytes(progress: TransferProgress) -> int:
    """What had to be moved, and was: what the far side had all along says nothing of the line."""
    return progress.done_bytes - min(progress.reused_bytes, progress.done_bytes)
