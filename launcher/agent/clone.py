"""Large files of which much lies there already: what of it is still good, and a clone to begin the new one with."""

from __future__ import annotations

import base64
import os

from .files import COPY_BYTES, at_home, below, in_threads, open_file, write_at
from .hashes import HASH_BYTES, LEAF_BYTES, grains_of, leaf_count, leaves_of
from .place import MISSING, Place
from .wire import Json, Wire


def leaves(_wire: Wire, request: Json) -> Json:
    """The leaves of a file, so that the laptop can tell what of it is still good."""
    descriptor = open_file(below(at_home(request["root"]), request["name"]))
    try:
        size = os.fstat(descriptor).st_size
        found: list[bytes] = [b""] * (size // COPY_BYTES + 1)

        def hash_block(number: int) -> None:
            found[number] = leaves_of(os.pread(descriptor, COPY_BYTES, number * COPY_BYTES))

        in_threads(hash_block, range(max(1, -(-size // COPY_BYTES))), os.cpu_count() or 1)
    finally:
        os.close(descriptor)
    return {"leaves": base64.b64encode(b"".join(found)).decode("ascii")}


def grains(_wire: Wire, request: Json) -> Json:
    """The grains of ranges [offset, length] of a file, one after the other."""
    descriptor = open_file(below(at_home(request["root"]), request["name"]))
    found: dict[int, bytes] = {}

    def hash_range(numbered: tuple[int, list[int]]) -> None:
        number, (offset, length) = numbered
        found[number] = grains_of(os.pread(descriptor, length, offset))

    try:
        in_threads(hash_range, enumerate(request["ranges"]), os.cpu_count() or 1)
    finally:
        os.close(descriptor)
    whole = b"".join(found[number] for number in range(len(request["ranges"])))
    return {"grains": base64.b64encode(whole).decode("ascii")}


def clone(_wire: Wire, request: Json) -> Json:
    """Begin a large file with ranges [to, from, length] of one that lies in the folder; what differs comes after."""
    place = Place(at_home(request["root"]))
    place.open_stage()
    name, size, mtime_ns = request["name"], request["size"], request["mtime_ns"]
    path = place.part(name, size, mtime_ns)
    base = open_file(below(place.root, request["base"]))
    part = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(part, size)
        for to, start, length in request["copies"]:
            copy_range(base, part, to, start, length)
        forget_leaves(f"{path}.leaves", request["copies"])
    finally:
        os.close(base)
        os.close(part)
    return {}


def forget_leaves(path: str, copies: list[list[int]]) -> None:
    """What was copied over a part is no longer what an earlier transfer had verified."""
    if os.path.exists(path):
        with open(path, "r+b") as file:
            for to, _, length in copies:
                first, end = to // LEAF_BYTES, leaf_count(to + length)
                file.seek(first * HASH_BYTES)
                file.write(MISSING * (end - first))


def copy_range(base: int, part: int, to: int, start: int, length: int) -> None:
    """Copy within the machine, by reference where the file system can."""
    while length > 0:
        try:
            done = os.copy_file_range(base, part, min(length, 1 << 30), start, to)
        except (OSError, AttributeError):
            block = os.pread(base, min(length, COPY_BYTES), start)
            write_at(part, memoryview(block), to)
            done = len(block)
        if not done:
            return
        to, start, length = to + done, start + done, length - done
