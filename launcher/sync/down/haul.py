"""Files that come over all lanes at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launcher.agent.hashes import LEAF_BYTES, digest_of
from launcher.sync.down.answers import CHANGED, Status, opened, why_lost
from launcher.sync.down.listing import Far
from launcher.sync.down.partials import Partial
from launcher.sync.down.pieces import PIECE_BYTES, Batch, Piece, wrong_digest
from launcher.sync.down.settle import Settler
from launcher.sync.down.trip import SMALL_BYTES, Trip, batches
from launcher.sync.wire.backlog import Cancelled
from launcher.sync.wire.lanes import Lanes

if TYPE_CHECKING:
    from launcher.agent.hashes import Data

LEAST_BYTES = 1 << 16
"""As what a piece counts at least, however well it compresses: more than a few need not be under way."""
BATCH_FILES = 256


class Haul:
    """Files that come over all lanes at once."""

    def __init__(self, trip: Trip) -> None:
        self.changed: list[Far] = []
        """Files that were other ones when they were to be read."""
        self._trip = trip
        self._shrinks: dict[str, float] = {}
        """To which part of its size a file was compressed the last time."""
        self._open: set[Partial] = set()
        self._lock = threading.Lock()

    def carry(self, files: Sequence[Far]) -> None:
        """Bring them; what did not come is in `changed`, or lost. Raises `RemoteError`, `OSError`."""
        trip, tally = self._trip, self._trip.tally
        request = {"op": "give", "root": trip.remote_dir}
        total_bytes = sum(far.data_bytes for far in files)
        self._lanes = Lanes(trip.lines, request=request, on_reply=self._on_reply, total_bytes=total_bytes)
        with Settler(trip.dest, trip.partials, tally.file_done, self._lanes.fail) as self._settler:
            producer = threading.Thread(target=self._ask_for, args=(files,), name="gpurun-ask", daemon=True)
            producer.start()
            try:
                self._lanes.run(lambda: tally.tell(self._lanes.connections))
            finally:
                producer.join()
                # Changed ones, and where it failed all others: no thread is at them any more.
                for partial in self._open:
                    partial.close()

    def _ask_for(self, files: Sequence[Far]) -> None:
        try:
            for batch in batches([far for far in files if far.size_bytes <= SMALL_BYTES], BATCH_FILES, SMALL_BYTES):
                self._lanes.put(Batch(batch))
            for far in files:
                if far.size_bytes > SMALL_BYTES:
                    self._ask_for_large(Partial(self._trip.partials, far))
            self._lanes.close()
        except Cancelled:
            return
        except BaseException as error:  # noqa: BLE001  (raised in the thread that waits)
            self._lanes.fail(error)

    def _ask_for_large(self, partial: Partial) -> None:
        self._open.add(partial)
        self._trip.tally.reused(partial.far, partial.begin())
        if partial.complete:
            self._settle(partial)
            return
        for start, end in partial.missing():
            at = start
            while at < end and not partial.dropped:
                shrinks = self._shrinks.get(partial.far.name, 1.0)
                # After a cut others are likely: a small piece is a small loss.
                length = min(LEAF_BYTES if self._lanes.cuts else PIECE_BYTES, end - at)
                self._lanes.put(Piece(partial, at, length, max(LEAST_BYTES, int(shrinks * length))))
                at += length

    def _on_reply(self, work: object, kind: bytes, payload: Data) -> None:
        """In a lane's thread."""
        self._trip.tally.received(len(payload))
        if isinstance(work, Piece):
            self._take_piece(work, kind, payload)
        elif isinstance(work, Batch):
            self._take_batch(work.files, kind, payload)

    def _take_piece(self, piece: Piece, kind: bytes, payload: Data) -> None:
        status, complete = piece.take(kind, payload)
        partial = piece.partial
        if kind != b"P":
            self._shrinks[partial.far.name] = min(1.0, len(payload) / piece.length)
        if status.came:
            self._trip.tally.moved(partial.far, piece.length)
            if complete:
                self._settle(partial)
            return
        with self._lock:
            first = not partial.dropped
            partial.dropped = True
        if first:
            self._did_not_come(partial.far, status)

    def _settle(self, partial: Partial) -> None:
        digest = partial.digest()
        self._trip.digests[partial.far.name] = digest
        path = partial.take()
        self._open.discard(partial)
        self._settler.settle_large(path, partial.far)

    def _take_batch(self, files: Sequence[Far], kind: bytes, payload: Data) -> None:
        statuses, digests, contents = opened(kind, payload, [far.size_bytes for far in files])
        whole = []
        at = number = 0
        for far, status in zip(files, statuses, strict=True):
            if not status.came:
                self._did_not_come(far, status)
                continue
            content = contents[at : at + far.size_bytes]
            if digest_of(content) != digests[number]:
                raise wrong_digest(far)
            self._trip.digests[far.name] = digests[number]
            whole.append((far, content))
            at, number = at + far.size_bytes, number + 1
        self._settler.settle_small(whole)

    def _did_not_come(self, far: Far, status: Status) -> None:
        if status.word == CHANGED:
            self.changed.append(far)
            return
        with self._lock:
            self._trip.lost.add(far.name)
        self._trip.tell(why_lost(far.name, status))
        self._trip.tally.forget(far, None)
