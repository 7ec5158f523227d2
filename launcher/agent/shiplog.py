"""The log in stretches of a fixed length: those that are full are sent once, the last one anew as it grows."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from .files import read_json, write_atomically
from .snapshot import Chunk, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .wire import Json

STRETCH_BYTES = 1 << 20
NOTHING: Json = {"end": 0, "lines": [], "tail": None}
"""Nothing sent yet: where it ended, [offset, size, sha256] of what stays, and of the last stretch, which grows."""


class Log(NamedTuple):
    """The log as it is now. Offsets count from the job's beginning, also over a log that was emptied."""

    base: int
    """The offset of the file's first byte."""
    end: int
    before: list[Json]
    """[offset, size, sha256] of what was sent and stays as it is."""
    new: list[Chunk]

    @property
    def lines(self) -> list[Json]:
        """All of it, as the manifest has it."""
        return [*self.before, *self.new_lines()]

    def new_lines(self) -> list[Json]:
        """What is new, likewise."""
        return [[self.base + chunk.offset, chunk.size, chunk.sha256] for chunk in self.new]

    def sent(self) -> Json:
        """What to know of it next time."""
        new = self.new_lines()
        tail = new.pop() if new and new[-1][1] < STRETCH_BYTES else None
        return {"end": self.end, "lines": [*self.before, *new], "tail": tail}


@contextlib.contextmanager
def open_log(path: str, base_file: str, sent: Json) -> Iterator[Log]:
    """The log with what is new since it was `sent`, open for reading."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield Log(0, sent["end"], remaining(sent, sent["end"]), [])
        return
    try:
        yield look(file, base_file, sent)
    finally:
        os.close(file)


def look(file: int, base_file: str, sent: Json) -> Log:
    """What is new in a log; one that was emptied goes on where it had ended, which whoever follows it is told too."""
    size = os.fstat(file).st_size
    base = read_json(base_file) or 0
    if base + size < sent["end"]:
        base = sent["end"]
        write_atomically(base_file, json.dumps(base))
    before = remaining(sent, base)
    start = max(before[-1][0] + before[-1][1] if before else 0, base)
    end = base + size
    new = []
    for at in range(start, end, STRETCH_BYTES):
        length = min(STRETCH_BYTES, end - at)
        new.append(Chunk(file, at - base, length, sha256_of(file, at - base, length)))
    return Log(base, end, before, new)


def remaining(sent: Json, base: int) -> list[Json]:
    """What was sent and stays: with the last stretch, where that can grow no more."""
    tail = sent["tail"]
    return [*sent["lines"], tail] if tail and base > tail[0] else sent["lines"]
