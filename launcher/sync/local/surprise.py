"""What is about to go up and was hardly meant to: a folder of data, a forgotten environment."""

from __future__ import annotations

from dataclasses import dataclass, field

from launcher.render import size
from launcher.sync.local.tree import Scan
from launcher.sync.names import shown

MANY_FILES = 10_000
MUCH_BYTES = 1 << 30
NAMED = 3
"""How many causes are told."""
WORTH_TELLING = 0.1
"""Of the whole; less is no cause."""
NEARLY_ALL = 0.8
"""Of a folder: a part of it that holds so much is the cause, and not the folder."""


@dataclass(slots=True)
class _Part:
    """A file, or a folder with all that lies in it."""

    name: str
    files: int
    size_bytes: int
    share: float = 0.0
    """Of the whole tree, by what there is too much of."""
    parts: list[_Part] = field(default_factory=list)


def surprise(scan: Scan) -> list[str]:
    """Nothing for a tree of up to 10,000 files and 1 GiB; else a line on its size, and one on each large part of it."""
    files, size_bytes = sum(item.kind == "f" for item in scan.items), scan.size_bytes
    many, much = files > MANY_FILES, size_bytes > MUCH_BYTES
    if not (many or much):
        return []
    top = _weighed(scan, per_file=many / files, per_byte=much / max(size_bytes, 1))
    lines = [f"{_amount(part)}: put it in .gpurunignore, or name it as `data:`" for part in _causes(top)]
    return [f"{files:,} {'file' if files == 1 else 'files'}, {size(size_bytes)} would go up", *lines]


def _weighed(scan: Scan, *, per_file: float, per_byte: float) -> _Part:
    """The tree as parts of parts."""
    parts = {"": _Part("", 0, 0)}
    for item in scan.items:
        parts[item.name] = _Part(item.name, int(item.kind == "f"), item.size_bytes)
    # Folders come before what they hold: backwards, each part is whole before it is added to its folder.
    for name in reversed(parts):
        part = parts[name]
        part.share = max(part.files * per_file, part.size_bytes * per_byte)
        if name:
            folder = parts[name.rpartition("/")[0]]
            folder.parts.append(part)
            folder.files += part.files
            folder.size_bytes += part.size_bytes
    return parts[""]


def _causes(top: _Part) -> list[_Part]:
    largest = sorted(top.parts, key=lambda part: (-part.share, part.name))[:NAMED]
    worth = [part for part in largest if part.share >= WORTH_TELLING] or [part for part in largest if part.parts]
    return [_narrowed(part) for part in worth]


def _narrowed(part: _Part) -> _Part:
    """The innermost folder or file that still holds nearly all of a part."""
    while True:
        inner = max(part.parts, key=lambda each: each.share, default=None)
        if inner is None or inner.share < NEARLY_ALL * part.share:
            return part
        part = inner


def _amount(part: _Part) -> str:
    files = f", {part.files:,} files" if part.parts else ""
    return f"{shown(part.name)} {size(part.size_bytes)}{files}"
