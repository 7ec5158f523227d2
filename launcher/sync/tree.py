"""What a local folder holds that is to go up: names, sizes, times and modes; nothing is read but folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Item(NamedTuple):
    """One file, folder or link of a tree; a tuple, since there may be a hundred thousand of them."""

    name: str
    """Relative, with `/` between its parts, surrogate-escaped where it is not UTF-8."""
    kind: str
    """`f` file, `d` folder, `l` symbolic link."""
    size_bytes: int
    """Of a file; 0 for what is none."""
    mtime_ns: int
    """Of a file; 0 for folders, whose time changes with every file put into them, and for links."""
    mode: int
    """The permission bits; a folder's always let its owner in, a link has none."""
    link_target: str
    inode: tuple[int, int] | None
    """(device, inode number) of a file: two names of one inode are one content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A local tree, ready to go up."""

    root: Path
    """The folder that the names are relative to."""
    items: tuple[Item, ...]
    """Folders before what they hold."""
    skipped: tuple[tuple[str, str], ...]
    """(name, why) of what is neither file, folder nor a link that stays inside; ignored files are not told."""

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(item.size_bytes for item in self.items)
