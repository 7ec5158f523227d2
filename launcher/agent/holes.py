"""Files with holes: which runs hold data, and digests that do not read the rest."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from .hashes import LEAF_BYTES, leaves_of

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_BYTES = 1 << 20
RUNS_LIMIT = 256
ZERO_LEAF = leaves_of(bytes(LEAF_BYTES))


def runs_of(descriptor: int, size: int) -> list[list[int]]:
    """The runs [offset, length] that hold data, on leaf boundaries; the last of very many holds all that follows."""
    runs: list[list[int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
            at = size if len(runs) == RUNS_LIMIT else os.lseek(descriptor, start, os.SEEK_HOLE)
        except AttributeError:  # Windows tells no holes
            return [[0, size]]
        except OSError as error:
            if error.errno != errno.ENXIO:
                return [[0, size]]
            break
        start = start // LEAF_BYTES * LEAF_BYTES
        end = min(size, -(-at // LEAF_BYTES) * LEAF_BYTES)
        if start >= end:  # it became shorter under our hands
            break
        if runs and start <= sum(runs[-1]):
            start = runs.pop()[0]
        runs.append([start, end - start])
    return runs


def leaves_of_file(descriptor: int, size: int) -> bytes:
    """The leaves of the first `size` bytes; a file that is shorter has fewer. Raises `OSError`."""
    if size <= LEAF_BYTES:
        return leaves_of(read_at(descriptor, 0, size))
    leaves = []
    at = 0
    for start, length in runs_of(descriptor, size):
        leaves += [zero_leaves(start - at), *_read_leaves(descriptor, start, length)]
        at = start + length
    return b"".join([*leaves, zero_leaves(size - at)])


def zero_leaves(length: int) -> bytes:
    """The leaves of a hole that begins on a leaf's boundary."""
    whole, rest = divmod(length, LEAF_BYTES)
    return ZERO_LEAF * whole + (leaves_of(bytes(rest)) if rest else b"")


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """That piece of a file, shorter where the file is; the descriptor is one thread's own. Raises `OSError`."""
    os.lseek(descriptor, offset, os.SEEK_SET)
    data = os.read(descriptor, length)
    while len(data) < length:
        more = os.read(descriptor, length - len(data))
        if not more:
            break
        data += more
    return data


def _read_leaves(descriptor: int, offset: int, length: int) -> Iterator[bytes]:
    while length:
        block = read_at(descriptor, offset, min(BLOCK_BYTES, length))
        if not block:
            return
        yield leaves_of(block)
        offset += len(block)
        length -= len(block)
