"""Whitening and standardising, learnt from training rows alone."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

from jobs import standardising, whitening
from jobs.errors import JobError


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Six columns, correlated, of variances from 4e4 to 0.04, and one that is the sum of two others."""
    random = np.random.default_rng(0)
    x = random.normal(size=(20_000, 5)) * [200, 20, 5, 1, 0.2] @ random.normal(size=(5, 5)) + 7
    return np.column_stack([x, x[:, 0] + x[:, 1]])


def test_whitened_training_rows_have_no_correlation_and_variance_one(rows: np.ndarray):
    learnt = whitening.fit(rows, epsilon=0)
    white = learnt.apply(rows).astype(np.float64)
    assert white.shape == (20_000, 5)  # the sum adds no direction
    assert np.abs(white.mean(axis=0)).max() < 1e-4
    assert np.abs(white.T @ white / len(white) - np.eye(5)).max() < 1e-6


def test_it_is_the_decks_formula(rows: np.ndarray):
    x, epsilon = rows[:500], 0.5
    mean = x.mean(axis=0)
    u, s, _ = np.linalg.svd((x - mean).T @ (x - mean) / len(x))
    u, s = u[:, s > 1e-5], s[s > 1e-5]
    expected = (x - mean) @ u / np.sqrt(s + epsilon)
    white = whitening.fit(x, epsilon=epsilon).apply(x)
    signs = np.sign((expected * white).sum(axis=0))  # of a direction, free
    assert np.abs(white - expected * signs).max() < 1e-5
    assert np.abs(white).max() > 1


def test_other_rows_are_whitened_by_what_the_training_rows_were(rows: np.ndarray):
    white = whitening.fit(rows[:10_000])
    assert white.apply(rows[:1]) == pytest.approx(white.apply(rows[:2])[:1])
    far = white.apply(rows + 1000)
    assert np.abs(far.mean(axis=0)).max() > 1


def test_signs_of_the_directions_are_fixed(rows: np.ndarray):
    directions = whitening.fit(rows).directions
    assert (directions[np.abs(directions).argmax(axis=0), np.arange(5)] > 0).all()
    assert np.abs(directions.T @ directions - np.eye(5)).max() < 1e-12


def test_the_first_components_or_a_share_of_the_variance_can_be_kept(rows: np.ndarray):
    everything = whitening.fit(rows)
    two = whitening.fit(rows, components=2)
    assert np.array_equal(two.apply(rows), everything.apply(rows)[:, :2])
    shares = np.cumsum(everything.variances) / everything.variances.sum()
    for kept, share in enumerate(shares[:4], start=1):
        assert whitening.fit(rows, variance_share=share - 1e-9).apply(rows[:1]).shape == (1, kept)
        assert whitening.fit(rows, variance_share=share + 1e-12).apply(rows[:1]).shape == (1, kept + 1)
    assert whitening.fit(rows, variance_share=1.0).apply(rows[:1]).shape == (1, 5)
    assert whitening.fit(rows, components=99).apply(rows[:1]).shape == (1, 5)


def test_bytes_are_whitened_as_the_numbers_that_they_are():
    pixels = np.random.default_rng(1).integers(0, 256, (300, 12), dtype=np.uint8)
    assert np.array_equal(whitening.fit(pixels).apply(pixels), whitening.fit(pixels * 1.0).apply(pixels * 1.0))
    assert np.array_equal(standardising.fit(pixels).apply(pixels), standardising.fit(pixels * 1.0).apply(pixels * 1.0))


def test_standardised_columns_have_mean_zero_and_variance_one_and_constant_ones_are_left(rows: np.ndarray):
    x = rows.copy()
    x[:, 2] = 0.1
    standard = standardising.fit(x).apply(x).astype(np.float64)
    assert np.abs(standard.mean(axis=0)).max() < 1e-5
    assert np.delete(standard.std(axis=0), 2) == pytest.approx(1, abs=1e-5)
    assert np.abs(standard[:, 2]).max() < 1e-12
    other = x[:1] + 5
    assert standardising.fit(x).apply(other)[0, 2] == pytest.approx(5)


@pytest.mark.parametrize("module", [whitening, standardising])
def test_what_was_learnt_survives_a_file(module, rows: np.ndarray):
    fitted, file = module.fit(rows), io.BytesIO()
    np.savez(file, **fitted.arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        assert np.array_equal(module.from_arrays(archive).apply(rows), fitted.apply(rows))
    with pytest.raises(JobError, match="there is no 'mean'"):
        module.from_arrays({})


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: whitening.fit(np.zeros((5, 3))), "the training rows are all the same"),
        (lambda: whitening.fit(np.zeros(5)), "expected at least two rows"),
        (lambda: whitening.fit(np.full((5, 3), np.nan)), "NaN"),
        (lambda: whitening.fit(np.eye(3), epsilon=-1), "epsilon is -1"),
        (lambda: whitening.fit(np.eye(3), components=0), "components is 0"),
        (lambda: whitening.fit(np.eye(3), variance_share=1.5), "variance_share is 1.5"),
        (lambda: whitening.fit(np.eye(3), components=1, variance_share=0.5), "expected one of them"),
        (lambda: whitening.fit(np.eye(3)).apply(np.eye(4)), "cannot be whitened: expected (3,)"),
        (lambda: standardising.fit(np.zeros((0, 3))), "expected rows of numbers"),
        (lambda: standardising.fit(np.full((5, 3), np.inf)), "infinite"),
        (lambda: standardising.fit(np.eye(3)).apply(np.eye(4)), "cannot be standardised: expected (3,)"),
    ],
)
def test_rows_that_cannot_be_are_refused(call, expected: str):
    with pytest.raises(JobError, match=re.escape(expected)):
        call()
