"""What must be done so that the machine holds what is here; nothing is read for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launcher.errors import TransferError
from launcher.sync.frames import Json
from launcher.sync.names import told
from launcher.sync.tree import Item

DIGEST_LETTERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """One line of what the machine holds; its digest is empty where the job has touched the file."""

    item: Item
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """New and changed things, by what they need."""

    files: tuple[Item, ...]
    """Whose content is not known to lie there under that name."""
    meta: tuple[Item, ...]
    """Files whose content is there, but not their mode."""
    folders: tuple[Item, ...]
    links: tuple[Item, ...]
    delete: tuple[str, ...]
    """Names that are gone here, or stand for another kind of thing."""

    @property
    def size_bytes(self) -> int:
        """Of the files, before compression and before anything turns out to be there."""
        return sum(item.size_bytes for item in self.files)


def difference(here: Sequence[Item], there: Mapping[str, There]) -> Difference:
    """Compare by name, kind, size, time and mode."""
    files: list[Item] = []
    meta: list[Item] = []
    folders: list[Item] = []
    links: list[Item] = []
    for item in here:
        old = there.get(item.name)
        if old is None or old.item.kind != item.kind:
            {"f": files, "d": folders, "l": links}[item.kind].append(item)
        elif item.kind == "f":
            if not old.digest or old.item[2:4] != item[2:4]:
                files.append(item)
            elif old.item.mode != item.mode:
                meta.append(item)
        elif old.item[:6] != item[:6]:
            (folders if item.kind == "d" else links).append(item)
    kinds = {item.name: item.kind for item in here}
    delete = tuple(name for name, old in there.items() if kinds.get(name) != old.item.kind)
    return Difference(files=tuple(files), meta=tuple(meta), folders=tuple(folders), links=tuple(links), delete=delete)


def entries_of(lines: Json) -> dict[str, There]:
    """What the machine says that it holds; raises `TransferError` on nonsense.

    Its names are used as keys and asked for again, never as paths of this computer.
    """
    try:
        return {line[0]: _there(*line) for line in lines}
    except (TypeError, ValueError, IndexError) as error:
        raise TransferError(f"the machine sent a list that is none: {told(repr(error))}") from None


def _there(name: str, kind: str, size_bytes: int, mtime_ns: int, mode: int, target: str, digest: str) -> There:
    numbers = (size_bytes, mtime_ns, mode)
    if not all(isinstance(text, str) for text in (name, kind, target, digest)):
        raise TypeError(name)
    if not all(type(number) is int for number in numbers) or len(digest) not in {0, DIGEST_LETTERS}:
        raise ValueError(name)
    return There(item=Item(name, kind, size_bytes, mtime_ns, mode, target, None), digest=digest)
