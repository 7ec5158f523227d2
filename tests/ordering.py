"""In which order tests run: what takes longest first, shared among the workers, since the last is waited for alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

LONG_S = 600
"""A timeout above it is a test of minutes. Modules with dear fixtures have less: they are not to be torn apart."""


def longest_first(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """The tests in so many slices of equal size, each beginning with its share of the long ones.

    pytest-xdist's worksteal deals out such slices, in order. Long ones of a file stay together where they fit: each of
    them keeps many processes busy, and all at once they would starve each other.
    """
    long = [item for item in items if _is_long(item)]
    shares = [long[len(long) * k // workers : len(long) * (k + 1) // workers] for k in range(workers)]
    rest = iter([item for item in items if not _is_long(item)])
    ordered: list[pytest.Item] = []
    for number, share in enumerate(shares):
        size = max(len(share), (len(items) - len(ordered)) // (workers - number))
        ordered += share + [item for _, item in zip(range(size - len(share)), rest, strict=False)]
    return ordered + list(rest)


def _is_long(item: pytest.Item) -> bool:
    limit = item.get_closest_marker("timeout")
    return limit is not None and bool(limit.args) and limit.args[0] > LONG_S
