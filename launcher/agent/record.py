"""What was pushed into a folder, line by line, and the digest that tells two such lists apart in one round trip."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def line_of(item: Any) -> str:
    """What must be the same on both sides, of (name, kind, size, mtime_ns, mode, link target, ...)."""
    name, kind, size_bytes, mtime_ns, mode, target = item[:6]
    return f"{name}\0{kind}{size_bytes}\0{mtime_ns}\0{mode:o}\0{target}\0"  # ends with what no name can hold


def state_digest(lines: Iterable[str]) -> str:
    """The digest of a list that is sorted by name."""
    return sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def contents_digest(items: Iterable[Any]) -> str:
    """The same with what each file holds, by its digest in the seventh column."""
    return state_digest(line_of(item) + str(item[6]) for item in items)
