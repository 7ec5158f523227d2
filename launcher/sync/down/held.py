"""Files that change while they are read: the machine opens them, and they come as they were then."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from launcher.agent.parcels import NUMBER
from launcher.errors import HostUnreachable, TransferError
from launcher.sync.down.answers import GONE, Status, why_lost
from launcher.sync.down.listing import Far, digest_from, listing_of, only_asked
from launcher.sync.down.partials import Partial
from launcher.sync.down.pieces import PIECE_BYTES, Piece
from launcher.sync.down.settle import Settler, dress_again
from launcher.sync.down.trip import Trip, batches
from launcher.sync.wire.frames import JSON_KINDS, Json, Wire, parse
from launcher.sync.wire.session import session

if TYPE_CHECKING:
    from launcher.agent.hashes import Data

HELD_FILES = 64
"""As many as the machine keeps open at a time."""
WINDOW_PIECES = 8
REDIAL_S = 30.0
MOST_CUTS = 5
"""In a row, with nothing that came between them."""


class Held:
    """Brings such files."""

    def __init__(self, trip: Trip) -> None:
        self._trip = trip
        self._cuts = 0

    def bring(self, files: Sequence[Far]) -> list[Far]:
        """Bring them home; gives those that changed even so. Raises `RemoteError`, `OSError`."""
        still: list[Far] = []
        for batch in batches(files, HELD_FILES, 1 << 62):
            still += self._bring_batch(batch)
        return still

    def _bring_batch(self, files: Sequence[Far]) -> list[Far]:
        self._cuts = 0
        while True:
            connection = self._trip.lines.bulk(0).fresh(REDIAL_S)
            try:
                with session(connection) as wire:
                    wire.send_json({"op": "give", "root": self._trip.remote_dir})
                    still = self._bring_over(wire, files)
                    wire.send_json({"end": True})
                    wire.receive_json()
                    return still
            except HostUnreachable:
                self._cuts += 1
                if self._cuts == MOST_CUTS:
                    raise

    def _bring_over(self, wire: Wire, files: Sequence[Far]) -> list[Far]:
        """Over one connection, since the files are held by the process at its end."""
        wire.send_json({"n": 1, "hold": [far.name for far in files]})
        answer = _numbered(wire, 1)
        listing, digests = listing_of(answer), _held_digests(answer)
        now = only_asked(listing, files)
        here = [self._still_there(far, now.get(far.name), dict(listing.skipped)) for far in files]
        partials = [Partial(self._trip.partials, far) for far in here if far and not self._is_home(far, digests)]
        self._trip.check_room([partial.far for partial in partials])
        try:
            self._fill(wire, partials)
            return [partial.far for partial in self._settled(partials, digests)]
        finally:
            for partial in partials:
                partial.close()

    def _still_there(self, far: Far, now: Far | None, skipped: dict[str, str]) -> Far | None:
        if now is None and far.name not in self._trip.digests:
            self._trip.tell(why_lost(far.name, Status(GONE, skipped.get(far.name, ""))))
            self._trip.tally.forget(far, None)
            self._trip.lost.add(far.name)
        return now

    def _is_home(self, far: Far, digests: dict[str, bytes]) -> bool:
        """Whether it came already, and only its time is another."""
        if self._trip.digests.get(far.name) != digests[far.name]:
            self._trip.tally.forget(far, far.size_bytes)
            return False
        self._trip.now[far.name] = far
        dress_again(f"{self._trip.dest}/{far.name}", far)
        return True

    def _fill(self, wire: Wire, partials: Sequence[Partial]) -> None:
        waiting: deque[tuple[int, Piece]] = deque()
        for number, piece in enumerate(self._pieces(partials), start=2):
            piece.send(wire, number)
            waiting.append((number, piece))
            if len(waiting) == WINDOW_PIECES:
                self._take(wire, *waiting.popleft())
        while waiting:
            self._take(wire, *waiting.popleft())

    def _pieces(self, partials: Sequence[Partial]) -> Iterator[Piece]:
        for partial in partials:
            self._trip.tally.reused(partial.far, partial.begin())
            for start, end in partial.missing():
                for at in range(start, end, PIECE_BYTES):
                    yield Piece(partial, at, min(PIECE_BYTES, end - at), PIECE_BYTES)

    def _take(self, wire: Wire, number: int, piece: Piece) -> None:
        kind, payload = wire.receive()
        self._trip.tally.received(len(payload))
        status, _ = piece.take(kind, _without_number(kind, payload, number))
        if status.came:
            self._cuts = 0
            self._trip.tally.moved(piece.partial.far, piece.length)
        self._trip.tally.tell(1)

    def _settled(self, partials: Sequence[Partial], digests: dict[str, bytes]) -> Iterator[Partial]:
        """Put those in place that are whole as the machine hashed them; gives the others."""
        errors: list[OSError] = []
        with Settler(self._trip.dest, self._trip.partials, self._trip.tally.file_done, errors.append) as settler:
            for partial in partials:
                name = partial.far.name
                if not partial.complete or partial.digest() != digests[name]:
                    partial.drop()
                    yield partial
                    continue
                self._trip.digests[name] = digests[name]
                self._trip.now[name] = partial.far
                settler.settle_large(partial.take(), partial.far)
        if errors:
            raise errors[0]


def _numbered(wire: Wire, number: int) -> dict[str, Json]:
    """A question's answer within a stream of work."""
    kind, payload = wire.receive()
    text = _without_number(kind, payload, number)
    if kind != b"A":
        raise TransferError(f"the machine sent a frame of kind {kind!r} where an answer was due")
    return parse(b"J", text)


def _without_number(kind: bytes, payload: Data, number: int) -> Data:
    if kind in JSON_KINDS:
        parse(kind, payload)
    if payload[: NUMBER.size] != NUMBER.pack(number):
        raise TransferError("the machine answered what it was not asked")
    return payload[NUMBER.size :]


def _held_digests(answer: dict[str, Json]) -> dict[str, bytes]:
    digests = answer.get("digests")
    if not isinstance(digests, dict):
        raise TransferError("the machine sent digests that are none")
    found = {name: digest_from(text) for name, text in digests.items()}
    if any(line[0] not in found for line in answer["entries"]):
        raise TransferError("the machine sent a file without its digest")
    return found
