"""A generation's manifest, read strictly: a machine wrote it, and nothing that a machine says is believed."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any

from launcher.domain import FileKind
from launcher.errors import TransferError

FORMAT = 1
GOES_ON = ("interruption", "shutdown")
"""Ends that are the machine's and not the job's; of a shutdown EC2 tells whose wish it was."""
_KINDS = {"f": FileKind.FILE, "d": FileKind.DIRECTORY, "l": FileKind.SYMLINK}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"objects/[A-Za-z0-9-]{1,80}")
_MOMENT_LIMIT_S = 1 << 33
_COUNT_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A stretch of a file: the object that holds it, relative to the run's prefix."""

    key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file, folder or link, by its name relative to its folder."""

    name: str
    kind: FileKind
    size_bytes: int
    mtime_ns: int
    mode: int
    target: str
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a machine had sent at one moment: checkpoint as it was then, output and log at least as new."""

    run_id: str
    segment: int
    number: int
    """Within the segment."""
    at_epoch_s: float
    """When the machine looked, by its own clock."""
    final: bool
    """Whether its job had ended."""
    state: str
    exit_status: int | None
    ended_by: str
    checkpoint: tuple[Item, ...]
    output: tuple[Item, ...]
    log: tuple[Chunk, ...]

    @property
    def complete(self) -> bool:
        """Whether it holds all that the run will ever make: its job ended, and goes on nowhere else."""
        return self.final and self.ended_by not in GOES_ON and self.state == "done"

    @property
    def files(self) -> int:
        """Of checkpoint and output."""
        return sum(item.kind is FileKind.FILE for item in (*self.checkpoint, *self.output))

    @property
    def size_bytes(self) -> int:
        """Of checkpoint and output."""
        return sum(item.size_bytes for item in (*self.checkpoint, *self.output))

    @property
    def log_bytes(self) -> int:
        """How much of the log it has."""
        return sum(chunk.size_bytes for chunk in self.log)

    @property
    def newest_mtime_ns(self) -> int:
        """When a file of its checkpoint was last written; 0 where it has none."""
        return max((item.mtime_ns for item in self.checkpoint if item.kind is FileKind.FILE), default=0)


def parse(text: bytes, run_id: str) -> Generation:
    """The manifest; raises `TransferError` for anything else."""
    try:
        said = json.loads(text)
        _check_subject(said, run_id)
        job = said["job"]
        return Generation(
            run_id=run_id,
            segment=_count(said["segment"]),
            number=_count(said["number"]),
            at_epoch_s=_moment(said["at"]),
            final=bool(said["final"]),
            state=_word(job["state"]),
            exit_status=None if job["exit_status"] is None else _count(job["exit_status"]),
            ended_by=_word(job["ended_by"] or ""),
            checkpoint=_items(said["checkpoint"]),
            output=_items(said["output"]),
            log=tuple(_chunk(line[1:]) for line in said["log"]["chunks"]),
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise TransferError(f"a manifest of run {run_id} in S3 is none: {error!a:.120}") from None


def leads_inside(name: str, target: str) -> bool:
    """Whether a link of that name and target stays in the folder that the name is relative to."""
    parts = target.split("/")
    ups = parts.count("..")
    plain = bool(target) and not target.startswith("/") and "\0" not in target
    return plain and parts[:ups] == [".."] * ups and ups <= name.count("/")


def _check_subject(said: Any, run_id: str) -> None:
    if said["format"] != FORMAT or said["run"] != run_id:
        raise ValueError(said["format"])


def _items(lines: Any) -> tuple[Item, ...]:
    items = tuple(_item(line) for line in lines)
    names = {item.name for item in items}
    if len(names) != len(items):
        raise ValueError("a name comes twice")
    folders = {item.name for item in items if item.kind is FileKind.DIRECTORY}
    for name in names:
        above = name.rpartition("/")[0]
        # One that is not named would be no folder of ours: through a link of an earlier generation it leads anywhere.
        if above and above not in folders:
            raise ValueError(name)
    return items


def _item(line: Any) -> Item:
    name, kind, size, mtime_ns, mode, target, chunks = line
    item = Item(
        name=_name(name),
        kind=_KINDS[kind],
        size_bytes=_count(size),
        mtime_ns=_mtime_ns(mtime_ns),
        mode=_count(mode) & 0o777,
        target=_target(name, target) if kind == "l" else "",
        chunks=tuple(_chunk(each) for each in chunks) if kind == "f" else (),
    )
    if item.kind is FileKind.FILE and sum(chunk.size_bytes for chunk in item.chunks) != item.size_bytes:
        raise ValueError(name)
    return item


def _name(name: str) -> str:
    """A plain relative path that a disk can have."""
    if "\0" in name or any(part in {"", ".", ".."} for part in name.split("/")):
        raise ValueError(name)
    os.fsencode(name)
    return name


def _target(name: str, target: str) -> str:
    """Where a link leads: relative, and never out of the folder."""
    if not leads_inside(name, target):
        raise ValueError(target)
    os.fsencode(target)
    return target


def _chunk(said: Any) -> Chunk:
    key, digest, size = said
    if key.startswith("results/"):
        _name(key).encode("utf-8")
    elif not _KEY.fullmatch(key):
        raise ValueError(key)
    if not _SHA256.fullmatch(digest):
        raise ValueError(digest)
    return Chunk(key=key, sha256=digest, size_bytes=_count(size))


def _word(value: Any) -> str:
    if not value.isascii():
        raise ValueError(ascii(value))
    return str(value)


def _mtime_ns(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(value)
    _moment(value / 1e9)
    return value


def _moment(value: Any) -> float:
    """Seconds since the epoch that a file can have for its time."""
    if type(value) not in {int, float} or not abs(value) < _MOMENT_LIMIT_S:
        raise ValueError(value)
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _COUNT_LIMIT:
        raise ValueError(value)
    return value
