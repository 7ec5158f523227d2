"""A table in Markdown, and how its seconds are written."""

from __future__ import annotations

from collections.abc import Iterable


def table(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Without a newline at its end."""
    headers = list(headers)
    lines = [headers, ["---" for _ in headers], *map(list, rows)]
    return "\n".join("| " + " | ".join(words) + " |" for words in lines)


def seconds(value: float | None) -> str:
    """Three digits, about."""
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
