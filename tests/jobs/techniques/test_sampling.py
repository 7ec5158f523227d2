"""Orders and splits: what must hold for every seed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import JobError
from jobs.sampling import order, splits

SEEDS = st.integers(0, 2**32 - 1)
LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=120).map(lambda found: np.array(found, np.int64))
CLASS_SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) >= 2)


def counts(labels: np.ndarray) -> np.ndarray:
    return np.bincount(labels, minlength=5)


@given(SEEDS, st.integers(0, 1000), st.integers(1, 200))
def test_an_epoch_has_every_row_once_and_the_order_that_checkpoints_rely_on(seed: int, epoch: int, rows: int):
    found = order.draw("shuffled", seed, epoch, np.zeros(rows))
    assert np.array_equal(found, np.random.default_rng([seed, epoch]).permutation(rows))


def test_epochs_and_seeds_have_orders_of_their_own_whatever_went_before():
    first = order.permutation(1, 1, 50)
    assert not np.array_equal(first, order.permutation(1, 2, 50))
    assert not np.array_equal(first, order.permutation(2, 1, 50))
    assert np.array_equal(first, order.permutation(1, 1, 50))


@given(SEEDS, LABELS, st.integers(1, 50))
def test_every_batch_of_any_size_has_each_class_as_often_as_can_be(seed: int, labels: np.ndarray, batch_size: int):
    rows = order.draw("balanced", seed, 0, labels)
    assert len(rows) == len(labels)
    present = np.unique(labels)
    for first in range(0, len(rows), batch_size):
        found = counts(labels[rows[first : first + batch_size]])[present]
        assert found.max() - found.min() <= 1


@given(SEEDS, LABELS)
def test_rows_of_a_class_come_equally_often(seed: int, labels: np.ndarray):
    often = np.bincount(order.balanced(seed, 3, labels), minlength=len(labels))
    for label in np.unique(labels):
        of_class = often[labels == label]
        assert of_class.max() - of_class.min() <= 1


def test_the_rows_of_a_large_class_all_come_in_the_course_of_epochs():
    labels = np.array([0] * 90 + [1] * 10)
    one_epoch = set(order.balanced(0, 0, labels))
    assert len(one_epoch & set(range(90))) == 50
    assert set(range(100)) == set(np.concatenate([order.balanced(0, epoch, labels) for epoch in range(20)]).tolist())


def test_rows_in_the_order_of_the_file_stay_there():
    assert order.draw("in-order", 7, 3, np.zeros((5, 2))).tolist() == [0, 1, 2, 3, 4]


def test_orders_that_cannot_be_are_refused():
    with pytest.raises(JobError, match="unknown sampling 'balance'; did you mean 'balanced'"):
        order.draw("balance", 0, 0, np.zeros(3))
    with pytest.raises(JobError, match="cannot be balanced: expected a class for each row"):
        order.draw("balanced", 0, 0, np.zeros((3, 2)))


@given(st.integers(2, 300), st.floats(0.01, 0.99), SEEDS)
def test_a_share_of_the_rows_is_held_out(rows: int, share: float, seed: int):
    held_out = splits.hold_out(rows, share, seed)
    assert held_out.shape == (rows,)
    assert held_out.sum() == round(share * rows)
    assert np.array_equal(held_out, splits.hold_out(rows, share, seed))


@given(LABELS, st.floats(0.01, 0.99), SEEDS)
def test_a_share_of_every_class_is_held_out(labels: np.ndarray, share: float, seed: int):
    held_out = splits.stratified(labels, share, seed)
    for label in np.unique(labels):
        of_class = labels == label
        assert held_out[of_class].sum() == round(share * of_class.sum())


@given(st.integers(2, 200), st.data(), SEEDS)
def test_folds_hold_every_row_out_once_in_parts_of_one_size(rows: int, data, seed: int):
    folds = data.draw(st.integers(2, rows))
    found = splits.k_fold(rows, folds, seed)
    sizes = np.bincount(found)
    assert (len(found), len(sizes)) == (rows, folds)
    assert sizes.max() - sizes.min() <= 1


@given(CLASS_SIZES, st.data(), SEEDS)
def test_stratified_folds_have_every_class_in_parts_of_one_size(sizes: list[int], data, seed: int):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    folds = data.draw(st.integers(2, len(labels)))
    found = splits.stratified_k_fold(labels, folds, seed)
    for rows in [np.ones(len(labels), np.bool_), *(labels == label for label in np.unique(labels))]:
        of_fold = np.bincount(found[rows], minlength=folds)
        assert len(of_fold) == folds
        assert of_fold.max() - of_fold.min() <= 1


def test_splits_are_drawn_and_other_seeds_draw_others():
    labels = np.repeat(np.arange(3), 20)
    for draw in (
        lambda seed: splits.hold_out(60, 0.5, seed),
        lambda seed: splits.stratified(labels, 0.5, seed),
        lambda seed: splits.k_fold(60, 3, seed),
        lambda seed: splits.stratified_k_fold(labels, 3, seed),
    ):
        assert np.array_equal(draw(1), draw(1))
        assert not np.array_equal(draw(1), draw(2))
        assert (np.diff(draw(1).astype(np.int64)) != 0).mean() > 0.2  # not row after row


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (lambda: splits.hold_out(10, 0.0, 0), "share to hold out is 0.0"),
        (lambda: splits.stratified(np.zeros(3), 1.0, 0), "share to hold out is 1.0"),
        (lambda: splits.k_fold(10, 1, 0), "1 folds of 10 rows: expected at least 2"),
        (lambda: splits.stratified_k_fold(np.zeros(3), 4, 0), "4 folds of 3 rows"),
    ],
)
def test_splits_that_cannot_be_are_refused(split, expected: str):
    with pytest.raises(JobError, match=re.escape(expected)):
        split()
