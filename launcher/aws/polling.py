"""How long to wait between two looks at something that changes by itself."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


def backoff(first_s: float = 0.05, cap_s: float = 2.0, factor: float = 1.6) -> Iterator[float]:
    """Waits in seconds, growing up to `cap_s`, each spread over its upper half so that many callers part."""
    wait_s = first_s
    while True:
        yield wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter guards no secret
        wait_s = min(cap_s, wait_s * factor)


def until(
    look: Callable[[], T | None], timeout_s: float, waits: Iterator[float] | None = None, *, first_look_s: float = 0.0
) -> T | None:
    """What `look` gives, once it gives something; `None` when that takes longer than `timeout_s`.

    `waits` says how long to wait after each look: `backoff()`, where it is left out. The first look is after
    `first_look_s`, where nothing can be seen before.
    """
    deadline = time.monotonic() + timeout_s
    time.sleep(min(first_look_s, timeout_s))
    for wait_s in waits or backoff():
        seen = look()
        if seen is not None:
            return seen
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return None
        time.sleep(min(wait_s, left_s))
    return None
