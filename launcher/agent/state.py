"""What lies there of all that was pushed, and what waits in the stage."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from .codec import Codec
from .files import at_home, free_bytes
from .hashes import HASH_BYTES
from .place import MISSING, Place, present
from .record import line_of, state_digest
from .settle import settle_or_forget
from .store import stored
from .wire import Json, Wire

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


def state(_wire: Wire, request: Json) -> Json:
    """The digest of what lies there of all that was pushed: a laptop that has the same has nothing to send."""
    place = Place(at_home(request["root"]))
    settle_or_forget(place)
    return {
        "digest": lying_digest(place),
        "staged": os.path.isdir(place.stage),
        "zstd": Codec().zstd is not None,
        "free_bytes": free_bytes(place.root),
        "store": [[size, name] for size, name in stored()],
    }


def free_disk(_wire: Wire, request: Json) -> Json:
    """Bytes that may still be written there."""
    return {"free_bytes": free_bytes(at_home(request["root"]))}


def lying_digest(place: Place) -> str:
    """The digest of all lines as they are now; empty where nothing was ever pushed."""
    found = place.recorded()
    if not found:
        return ""
    if "half" in found:
        return "half"  # no digest that a laptop has: it must send what it has
    if all_untouched(place.root, found["items"]):
        return str(found["digest"])
    return state_digest(line_of(now) for _, now in lying(place))


def all_untouched(root: str, items: list[Json]) -> bool:
    """Whether everything is as it was put there: the usual case, in as little time as Python can."""
    lstat, regular, folder, prefix = os.lstat, stat.S_IFREG, stat.S_IFDIR, f"{root}/"
    try:
        for name, kind, size, mtime_ns, mode, target, _, *real_ns in items:
            found = lstat(prefix + name)
            if kind == "f":
                lies_ns = real_ns[0] if real_ns else mtime_ns
                if found.st_mode != regular | mode or found.st_size != size or found.st_mtime_ns != lies_ns:
                    return False
            elif kind == "d":
                if found.st_mode & ~0o7000 != folder | mode:
                    return False
            elif os.readlink(prefix + name) != target:
                return False
    except OSError:  # where no link is, as well
        return False
    return True


def lying(place: Place) -> Iterator[tuple[Json, Json]]:
    """Each line of the record beside what is there now: of no kind where nothing is, or a folder above is none."""
    lost: set[str] = set()
    for item in place.items():
        now = present(place.root, item)
        if item[1] == "d" and (now is None or now[1] != "d"):
            lost.add(item[0])
        if now is None or (lost and is_below(item[0], lost)):
            now = [item[0], "", 0, 0, 0, ""]
        if len(item) > 7 and now[1] == "f" and now[3] == item[7]:
            now[3] = item[3]
        yield item, now


def is_below(name: str, folders: Collection[str]) -> bool:
    """Whether one of these folders lies above the name."""
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in folders:
            return True
    return False


def entries(_wire: Wire, request: Json) -> Json:
    """All that was pushed, as it is now; a digest is told only where nothing has touched the file since."""
    found = []
    for item, now in lying(Place(at_home(request["root"]))):
        untouched = now[1] == "f" and now[1:4] == item[1:4]
        found.append([*now, item[6] if untouched else ""])
    return {"entries": found}


def staged(_wire: Wire, request: Json) -> Json:
    """What an earlier transfer left in the stage: whole files, and of large ones the leaves that are verified."""
    place = Place(at_home(request["root"]))
    parts = {}
    if os.path.isdir(place.parts):
        for name in os.listdir(place.parts):
            if name.endswith(".leaves"):
                with open(f"{place.parts}/{name}", "rb") as file:
                    parts[name[: -len(".leaves")]] = runs_of(file.read())
    return {"rows": [row[:7] for row in place.staged_rows().values()], "parts": parts}


def runs_of(leaves: bytes) -> list[list[int]]:
    """The runs [first leaf, how many] that are there."""
    runs: list[list[int]] = []
    for number in range(len(leaves) // HASH_BYTES):
        if leaves[number * HASH_BYTES : (number + 1) * HASH_BYTES] == MISSING:
            continue
        if runs and sum(runs[-1]) == number:
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
    return runs
