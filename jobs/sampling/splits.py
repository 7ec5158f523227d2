"""Rows held out: once, or each fold in turn.

`hold_out` and `stratified` answer a mask (rows,), True for what is held out. The folds answer the number of each
row's fold (rows,), so that every row is held out exactly once: in round `i`, the rows where `folds == i` are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import JobError


def hold_out(rows: int, share: float, seed: int) -> NDArray[np.bool_]:
    """`share` of `rows`, rounded, drawn without replacement (deck 3: a tenth to a half)."""
    _check_share(share)
    held_out = np.zeros(rows, np.bool_)
    held_out[np.random.default_rng(seed).permutation(rows)[: round(share * rows)]] = True
    return held_out


def stratified(labels: NDArray[Any], share: float, seed: int) -> NDArray[np.bool_]:
    """`share` of the rows of every class, each rounded, so that both parts have the classes' proportions (deck 2)."""
    _check_share(share)
    random = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        held_out[rows[: round(share * len(rows))]] = True
    return held_out


def k_fold(rows: int, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each row, 0 .. folds - 1, drawn; sizes differ by at most one (decks 0 and 3)."""
    _check_folds(folds, rows)
    fold = np.empty(rows, np.int64)
    fold[np.random.default_rng(seed).permutation(rows)] = np.arange(rows) % folds
    return fold


def stratified_k_fold(labels: NDArray[Any], folds: int, seed: int) -> NDArray[np.int64]:
    """The same, and of every class the numbers differ by at most one too (deck 2); a class may be rarer than folds."""
    _check_folds(folds, len(labels))
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]  # dealt out like cards, one class after another
    fold = np.empty(len(labels), np.int64)
    fold[by_class] = np.arange(len(labels)) % folds
    return fold


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise JobError(f"the share to hold out is {share}: expected more than 0 and less than 1")


def _check_folds(folds: int, rows: int) -> None:
    if not 2 <= folds <= rows:
        raise JobError(f"{folds} folds of {rows:,} rows: expected at least 2, and at most as many as there are rows")
