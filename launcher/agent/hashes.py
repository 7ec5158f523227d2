"""A file's digest: a tree of sha256, so that parts can be checked by themselves and by several threads at once.

The leaves are the sha256 of every 256 KiB; content of one leaf has that for its digest, longer content the sha256 of
all its leaves in a row. Two contents are the same where both size and digest are: a digest alone does not tell a tree
from a file that holds its leaves. Grains are finer: they find what has changed inside a leaf, and verify nothing.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Data = bytes | bytearray | memoryview

LEAF_BYTES = 1 << 18
HASH_BYTES = 32
GRAIN_BYTES = 1 << 14
GRAIN_HASH_BYTES = 16


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


def grains_of(data: Data) -> bytes:
    """A short hash of every 16 KiB, 16 bytes each."""
    view = memoryview(data)
    hashes = [sha256(view[at : at + GRAIN_BYTES]).digest() for at in range(0, len(view), GRAIN_BYTES)]
    return b"".join([each[:GRAIN_HASH_BYTES] for each in hashes])


def leaf_count(size_bytes: int) -> int:
    """How many leaves so much content has: an empty file has one."""
    return max(1, -(-size_bytes // LEAF_BYTES))
