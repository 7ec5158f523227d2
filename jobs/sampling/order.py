"""The order of the rows in an epoch: a function of the seed and the epoch, whatever went before.

So a training that goes on from a checkpoint needs nothing but the epoch's number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.catalogue import nearest
from jobs.errors import JobError

NAMES = ("shuffled", "balanced", "in-order")


def draw(name: str, seed: int, epoch: int, labels: NDArray[Any]) -> NDArray[np.int64]:
    """As many row numbers as there are `labels` (rows,) or targets (rows, targets), by one of `NAMES`.

    `in-order` is the order of the file, every epoch: deck 3's example of what not to do. Raises `JobError`.
    """
    if name not in NAMES:
        raise JobError(f"unknown sampling {name!r}{nearest(name, NAMES)}")
    if name == "in-order":
        return np.arange(len(labels))
    return balanced(seed, epoch, labels) if name == "balanced" else permutation(seed, epoch, len(labels))


def permutation(seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    """Every row once, shuffled: (rows,)."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def balanced(seed: int, epoch: int, labels: NDArray[Any]) -> NDArray[np.int64]:
    """As many row numbers as there are `labels` (rows,), such that every batch holds each class equally often.

    Deck 4 asks for batches with the same number of points of each class; where that cannot be, the numbers differ by
    one. It holds for batches of any size, since the classes take turns. Rows of a small class come again, each as
    often as the others; of a large class an epoch takes but a part, and the next epoch another.
    Raises `JobError` where there are no labels, or they are not one a row.
    """
    if labels.ndim != 1 or not len(labels):
        raise JobError(f"labels of shape {labels.shape} cannot be balanced: expected a class for each row")
    random = np.random.default_rng([seed, epoch])
    classes = np.unique(labels)
    order = np.empty(len(labels), np.int64)
    for turn, label in enumerate(random.permutation(classes)):
        wanted = order[turn :: len(classes)]
        wanted[:] = _repeated(random, np.flatnonzero(labels == label), len(wanted))
    return order


def _repeated(random: np.random.Generator, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of `rows`, shuffled; all of them before any comes again."""
    passes = -(-count // len(rows))
    return np.concatenate([random.permutation(rows) for _ in range(passes)])[:count] if passes else rows[:0]
