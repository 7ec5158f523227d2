"""A file's digest: a tree of sha256, so that parts can be checked by themselves and by several threads at once.

The leaves are the sha256 of every 16 KiB; content of one leaf has that for its digest, longer content the sha256 of
all its leaves in a row. Two contents are the same where both size and digest are: a digest alone does not tell a tree
from a file that holds its leaves.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Data = bytes | bytearray | memoryview

LEAF_BYTES = 1 << 14
HASH_BYTES = 32


def leaves_of(data: Data) -> bytes:
    """The leaves of content that begins on a leaf's boundary, 32 bytes each."""
    if len(data) <= LEAF_BYTES:
        return sha256(data).digest()
    view = memoryview(data)
    return b"".join([sha256(view[at : at + LEAF_BYTES]).digest() for at in range(0, len(view), LEAF_BYTES)])


def digest_of_leaves(leaves: Data) -> bytes:
    """The digest of the content that has these leaves, 32 bytes."""
    return bytes(leaves) if len(leaves) == HASH_BYTES else sha256(leaves).digest()


def digest_of(data: Data) -> bytes:
    """The digest of content, 32 bytes."""
    return digest_of_leaves(leaves_of(data))


def leaf_count(size_bytes: int) -> int:
    """How many leaves so much content has: an empty file has one."""
    return max(1, -(-size_bytes // LEAF_BYTES))
