"""The section of a document that one benchmark writes, and no other."""

from __future__ import annotations

import sys
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "RESULTS.md"


def write_section(name: str, made_by: str, text: str, path: Path = RESULTS) -> None:
    """Put `text` between the marks of `name` in a document, or at its end where it has none yet.

    `made_by` is the program, such as benchmarks/sync.py: a part of the mark, for who would edit the section by hand.
    """
    begin, end = f"<!-- {name}: made by {made_by} -->", f"<!-- end of {name} -->"
    old = path.read_text() if path.exists() else "# Results\n"
    section = f"{begin}\n{text.rstrip()}\n\n{end}\n"
    if begin in old and end in old:
        before, _, rest = old.partition(begin)
        path.write_text(before + section + rest.partition(end)[2].removeprefix("\n"))
    else:
        path.write_text(old.rstrip("\n") + "\n\n" + section)
    print(f"{name}: written into {path}", file=sys.stderr)
