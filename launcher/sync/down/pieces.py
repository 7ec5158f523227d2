"""What is asked for at a time: small files together, large ones piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from launcher.agent.hashes import LEAF_BYTES, digest_of_leaves, leaves_of
from launcher.errors import TransferError
from launcher.sync.down.answers import ENTRY_BYTES, HOLE, Status, opened
from launcher.sync.down.listing import Far
from launcher.sync.down.partials import Partial
from launcher.sync.names import shown
from launcher.sync.wire.frames import Wire

if TYPE_CHECKING:
    from launcher.agent.hashes import Data

PIECE_BYTES = 4 * LEAF_BYTES


class Batch(NamedTuple):
    """Small files that come in one parcel."""

    files: Sequence[Far]

    @property
    def size_bytes(self) -> int:
        """Of the answer, about."""
        return sum(far.size_bytes + ENTRY_BYTES for far in self.files)

    def send(self, wire: Wire, number: int) -> None:
        """Ask for them."""
        wire.send_json({"n": number, "files": [[far.name, *far.stamp] for far in self.files]})


class Piece(NamedTuple):
    """A range of a large file."""

    partial: Partial
    offset: int
    length: int
    size_bytes: int
    """Of the answer, as far as can be known."""

    def send(self, wire: Wire, number: int) -> None:
        """Ask for it."""
        far = self.partial.far
        wire.send_json({"n": number, "range": [far.name, self.offset, self.length, *far.stamp]})

    def take(self, kind: bytes, payload: Data) -> tuple[Status, bool]:
        """Verify the answer and keep it; tells what became of it, and whether the file is complete now."""
        (status,), digests, content = opened(kind, payload, [self.length], holes=True)
        if self.partial.dropped or not status.came:
            return status, False
        if status.word == HOLE:
            return status, self.partial.zero(self.offset, self.length)
        leaves = leaves_of(content)
        if digest_of_leaves(leaves) != digests[0]:
            raise wrong_digest(self.partial.far)
        return status, self.partial.write(self.offset, content, leaves)


def wrong_digest(far: Far) -> TransferError:
    """What came is not what was sent."""
    return TransferError(
        f"{shown(far.name)} came with another content than its digest says; it was not kept",
        hint="once more; if it happens again, gpurun doctor",
    )
