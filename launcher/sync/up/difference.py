"""What must be done so that the machine holds what is here; nothing is read for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launcher.errors import TransferError
from launcher.sync.local.tree import Item
from launcher.sync.names import told
from launcher.sync.wire.frames import Json

There = list[Json]
"""One line of what the machine holds: an `Item`'s first six columns and the digest, empty where the job has touched
the file. Plain lists, as JSON brings them: there may be a hundred thousand."""
NAME, KIND, SIZE, MTIME, MODE, TARGET, DIGEST = range(7)
COLUMN_TYPES = [str, str, int, int, int, str, str]
DIGEST_LETTERS = 64


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
    new: dict[str, list[Item]] = {"f": [], "d": [], "l": [], "meta": []}
    kinds: dict[str, str] = {}
    for item in here:
        kinds[item[0]] = item[1]
        old = there.get(item[0])
        if old is not None and old[:6] == [*item[:6]] and (old[6] or item[1] != "f"):
            continue
        untouched = old is not None and old[DIGEST] and old[1:4] == [*item[1:4]]
        new["meta" if untouched else item.kind].append(item)
    delete = tuple(name for name, old in there.items() if kinds.get(name) != old[KIND])
    return Difference(
        files=tuple(new["f"]),
        meta=tuple(new["meta"]),
        folders=tuple(new["d"]),
        links=tuple(new["l"]),
        delete=delete,
    )


def entries_of(lines: Json) -> dict[str, There]:
    """What the machine says that it holds; raises `TransferError` on nonsense.

    Its names are used as keys and asked for again, never as paths of this computer.
    """
    if not isinstance(lines, list):
        raise TransferError("the machine sent a list that is none")
    for line in lines:
        if not isinstance(line, list) or [*map(type, line)] != COLUMN_TYPES or len(line[6]) not in {0, DIGEST_LETTERS}:
            raise TransferError(f"the machine sent a line that is none: {told(repr(line))}")
    return {line[0]: line for line in lines}
