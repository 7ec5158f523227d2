"""Files of contents that this machine has already: copied or linked into the stage."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat

from .files import COPY_BYTES, at_home, below, in_threads, open_file
from .hashes import digest_of_leaves, leaves_of
from .intake import FULL, Intake, put, with_room
from .place import Place, part_key, set_mtime, sole
from .store import stored
from .wire import Json, Wire, write_all


def copies(_wire: Wire, request: Json) -> Json:
    """Make files of contents that this machine has: [source, name, size, mtime_ns, mode, digest, whether it moves].

    A source is a name in the folder or the stage, or `{"store": NAME}`. Each is hashed; those that turn out otherwise
    are answered as `bad`.
    """
    place = Place(at_home(request["root"]))
    place.open_stage()
    intake = Intake(place)
    bad = []

    def copy(item: Json) -> None:
        try:
            if not copy_one(place, intake, item):
                bad.append(item[1])
        except OSError as error:
            if error.errno in FULL:
                raise with_room(error, place, item[2]) from None
            bad.append(item[1])

    try:
        in_threads(copy, request["items"], os.cpu_count() or 1)
    finally:
        intake.close()
    return {"bad": bad}


def copy_one(place: Place, intake: Intake, item: Json) -> bool:
    """One of them; `False` where no source holds the content."""
    return any(copy_from(place, intake, origin, item) for origin in sources_of(place, item[0]))


def copy_from(place: Place, intake: Intake, origin: str, item: Json) -> bool:
    """One of them from that source; `False` where it does not hold the content."""
    _, name, size, mtime_ns, mode, digest, moves = item
    descriptor = open_file(origin)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            return False
        target = intake.path_of(name)
        partial = f"{place.parts}/{part_key(name, size, mtime_ns)}.{os.getpid()}.copy"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        linked = moves and found.st_mtime_ns == mtime_ns and found.st_mode & 0o777 == mode
        if linked:
            os.link(origin, partial)
        if copied_digest(descriptor, "" if linked else partial, size, mode).hex() != digest:
            os.unlink(partial)
            return False
        real_ns: list[int] = []
        if not linked:
            os.chmod(partial, mode)
            real_ns = set_mtime(partial, mtime_ns)
        line = json.dumps([name, "f", size, mtime_ns, mode, "", digest, *real_ns]) + "\n"
        with sole(place, fcntl.LOCK_SH):
            put(partial, target)
            intake.note(line)
    finally:
        os.close(descriptor)
    return True


def sources_of(place: Place, source: Json) -> list[str]:
    """The paths where a source's content may lie: a name may be that of an old file in place and of a new one."""
    if isinstance(source, dict):
        return [path for _, path in stored(source["store"])]
    return [path for path in (below(place.root, source), below(place.tree, source)) if os.path.isfile(path)]


def copied_digest(descriptor: int, target: str, size: int, mode: int) -> bytes:
    """The digest of an open file, which is copied to `target` on the way where that is given."""
    copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode | 0o600) if target else -1
    found: list[bytes] = []
    offset = 0
    try:
        while offset < size or not found:
            block = os.pread(descriptor, min(COPY_BYTES, size - offset), offset)
            found.append(leaves_of(block))
            offset += len(block)
            if copy >= 0:
                write_all(copy, memoryview(block))
            if not block:
                break
    finally:
        if copy >= 0:
            os.close(copy)
    return digest_of_leaves(b"".join(found))
