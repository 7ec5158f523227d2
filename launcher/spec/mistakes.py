"""Mistakes of the user, each with its place and its words."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from launcher.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Where = tuple[str | int, ...]
"""A field's way from the top, such as ("resources", "regions", 1)."""


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One thing that is wrong, at a line and column counted from 1."""

    line: int
    column: int
    field: str
    text: str


def dotted(where: Where) -> str:
    """`resources.regions[1]`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in where]
    return "".join(parts).removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing where no known word is near."""
    found = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""


def printable(path: Path) -> str:
    """A path as a terminal can show it, whatever bytes it is made of."""
    return os.fsencode(path).decode(errors="replace")


def spec_error(path: Path, mistakes: Sequence[Mistake]) -> SpecError:
    """The error that tells them all, in the order of the file."""
    ordered = sorted(set(mistakes))
    name = printable(path)
    lines = tuple(f"{name}:{each.line}:{each.column}: {each.field}: {each.text}" for each in ordered)
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    return SpecError(
        f"{name} has {count}", hint=f"correct {name}; `gpurun init` writes a commented example", problems=lines
    )
