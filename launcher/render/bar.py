"""A transfer as one line of a terminal."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from launcher.render.text import size

if TYPE_CHECKING:
    from launcher.domain import TransferProgress

INDENT = 10
"""Below the names of the phases."""
BAR_CELLS = 24
SHORTEST_BAR_CELLS = 6
LABEL_CELLS = 24
HOUR_S, DAY_S = 3600, 86400


def bar(progress: TransferProgress, *, rate: float | None, left_s: float | None, width: int, glyphs: str = "━─") -> str:
    """As much of it as fits into `width` cells, what matters most first; never more than that.

    `rate` in bytes a second; `glyphs` are what is done and what is not.
    """
    share = _share(progress)
    percent = "" if share is None else f"{100 * share:3.0f} %"
    label = clipped(progress.label, min(LABEL_CELLS, max(width - len(percent) - 1, 0)))
    # In the order of the line; the figure is how soon each must go when room is short.
    parts = [
        (0, label),
        (1, percent),
        (2, _bytes(progress)),
        (5, _files(progress)),
        (3, "" if rate is None else f"{size(round(rate))}/s"),
        (4, "" if left_s is None else f"{_clock(left_s)} left"),
    ]
    shown = [(rank, text) for rank, text in parts if text]
    while len(shown) > 1 and _cells(shown) > width:
        shown.remove(max(shown))
    line = "  ".join(text for _, text in shown)
    spare = width - cells(line)
    if spare >= SHORTEST_BAR_CELLS + 2 and share is not None:
        drawn = _drawn(share, min(BAR_CELLS, spare - 2), glyphs)
        # Beside the percentage.
        at = len(label) + 2 + len(percent)
        line = f"{line[:at]}  {drawn}{line[at:]}"
    return clipped(" " * INDENT + line if cells(line) + INDENT <= width else line, width)


def cells(text: str) -> int:
    """How many columns a text takes on a terminal."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else not unicodedata.combining(each) for each in text)


def clipped(text: str, width: int) -> str:
    """Its beginning, with an ellipsis where that is not all; nothing that a terminal would act on."""
    text = "".join(each if each.isprintable() else "?" for each in text)
    if cells(text) <= width:
        return text
    while text and cells(text) > width - 1:
        text = text[:-1]
    return text + "…" if width > 0 else ""


def _cells(parts: list[tuple[int, str]]) -> int:
    return sum(cells(text) + 2 for _, text in parts) - 2


def _share(progress: TransferProgress) -> float | None:
    """How much is done, between 0 and 1; `None` where the whole is not known."""
    if progress.total_bytes > 0:
        return min(progress.done_bytes / progress.total_bytes, 1.0)
    return min(progress.done_files / progress.total_files, 1.0) if progress.total_files > 0 else None


def _bytes(progress: TransferProgress) -> str:
    done, total = size(progress.done_bytes), size(progress.total_bytes)
    if progress.total_bytes <= 0:
        return done
    amount, unit = total.rsplit(" ", 1)
    return f"{done.removesuffix(f' {unit}')}/{amount} {unit}"


def _files(progress: TransferProgress) -> str:
    if progress.total_files > 1:
        return f"{progress.done_files}/{progress.total_files} files"
    return f"{progress.done_files} files" if progress.total_files <= 0 and progress.done_files > 1 else ""


def _drawn(share: float, width: int, glyphs: str) -> str:
    done = int(share * width)
    return glyphs[0] * done + glyphs[1] * (width - done)


def _clock(seconds: float) -> str:
    """`0:07`, `12:05`, `3:04:05`, `2 days`."""
    whole = round(min(seconds, 1e9))
    if whole >= 2 * DAY_S:
        return f"{whole // DAY_S} days"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
