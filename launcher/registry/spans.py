"""Sets of numbers as spans, first to last: a thousand pruned versions are a line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from launcher.registry.documents import positive

Spans = tuple[tuple[int, int], ...]


def holds(spans: Spans, number: int) -> bool:
    """Whether a number is among them."""
    return any(first <= number <= last for first, last in spans)


def joined(spans: Spans, numbers: Iterable[int]) -> Spans:
    """With those numbers, too; in order, and none that touches the next."""
    done: list[tuple[int, int]] = []
    for first, last in sorted([*spans, *((number, number) for number in numbers)]):
        if done and first <= done[-1][1] + 1:
            done[-1] = (done[-1][0], max(done[-1][1], last))
        else:
            done.append((first, last))
    return tuple(done)


def parse(value: Any) -> Spans:
    """What JSON made of them; raises `TypeError` or `ValueError`."""
    found: list[tuple[int, int]] = []
    for first, last in value:
        apart = not found or first > found[-1][1] + 1
        if not (positive(first) and positive(last) and first <= last and apart):
            raise ValueError("no spans, or out of order")
        found.append((first, last))
    return tuple(found)
