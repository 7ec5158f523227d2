"""Tables in Markdown, and the section of a document that they stand in."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path


def table(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    headers = list(headers)
    lines = [headers, ["---" for _ in headers], *map(list, rows)]
    return "\n".join("| " + " | ".join(words) + " |" for words in lines)


def seconds(value: float | None) -> str:
    """Three digits, about."""
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def write_section(path: Path, name: str, made_by: str, text: str) -> None:
    """Put `text` between its marks in a document, or at its end where it has none yet."""
    begin, end = f"<!-- {name}: made by {made_by} -->", f"<!-- end of {name} -->"
    old = path.read_text() if path.exists() else "# Results\n"
    section = f"{begin}\n{text.rstrip()}\n\n{end}\n"
    if begin in old and end in old:
        before, _, rest = old.partition(begin)
        path.write_text(before + section + rest.partition(end)[2].removeprefix("\n"))
    else:
        path.write_text(old.rstrip("\n") + "\n\n" + section)
    print(f"{name}: written into {path}", file=sys.stderr)
