"""Parcels that the machine sends home: nothing in them counts that was not asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from launcher.agent.parcels import HEAD, split
from launcher.errors import TransferError
from launcher.sync.names import shown, told
from launcher.sync.wire.codec import unpack
from launcher.sync.wire.frames import Json

if TYPE_CHECKING:
    from launcher.agent.hashes import Data

ENTRY_BYTES = 640
"""The most that a file's own row and digest take in a parcel; the rest of it is content."""
WHOLE, HOLE, CHANGED, GONE, UNREADABLE = "whole", "hole", "changed", "gone", "unreadable"
_PLAIN = frozenset({WHOLE, HOLE, CHANGED, GONE})


class Status(NamedTuple):
    """What became of a file or piece that was asked for."""

    word: str
    why: str = ""

    @property
    def came(self) -> bool:
        """Whether its content is known now."""
        return self.word in {WHOLE, HOLE}


def why_lost(name: str, status: Status) -> str:
    """A line for the user on a file that does not come."""
    if status.why:
        return f"{shown(name)} was left on the machine: it cannot be read: {told(status.why)}"
    return f"{shown(name)} is gone by now"


def opened(
    kind: bytes, payload: Data, sizes: Sequence[int], *, holes: bool = False
) -> tuple[list[Status], list[bytes], memoryview]:
    """A parcel's rows, one for each of the `sizes` asked for, with digests and contents of those that are whole.

    Raises `TransferError` for anything else, however it is packed; `holes`: whether a row may be one.
    """
    if kind == b"N":
        raise TransferError(f"the machine refused a request: {told(bytes(payload).decode('utf-8', 'replace'))}")
    body = unpack(kind, payload, HEAD.size + ENTRY_BYTES * (1 + len(sizes)) + sum(sizes))
    try:
        header, digests, contents = split(body)
        statuses = [_status(row, holes=holes) for row in header["rows"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise TransferError(f"the machine sent a parcel that is none: {told(repr(error))}") from None
    if len(statuses) != len(sizes):
        raise TransferError(f"the machine answered for {len(statuses)} files where {len(sizes)} were asked for")
    whole = [size for size, status in zip(sizes, statuses, strict=True) if status.word == WHOLE]
    if len(digests) != len(whole) or len(contents) != sum(whole):
        raise TransferError("the machine sent more or less content than it had announced; it was not kept")
    return statuses, digests, contents


def _status(row: Json, *, holes: bool) -> Status:
    if isinstance(row, str):
        if row not in _PLAIN or (row == HOLE and not holes):
            raise ValueError(row)
        return Status(row)
    word, why = row
    if word != UNREADABLE or not isinstance(why, str):
        raise ValueError(row)
    return Status(word, why)
