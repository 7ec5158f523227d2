"""The wait after a lost race."""

from __future__ import annotations

import random
import time

SHORTEST_PAUSE_S = 0.002
ATTEMPTS_PAUSED = 4
"""The first pause after a lost race lasts up to so many times as long as the attempt."""
LONGEST_PAUSE_S = 5.0


def pause(attempt: int, began_s: float) -> None:
    """After a lost race: a random wait, so that of many the next one to try is alone.

    It grows from the time that the attempt took (since `began_s` on the monotonic clock): where a crowd makes a store
    slow, short waits would keep it so.
    """
    took_s = max(SHORTEST_PAUSE_S, time.monotonic() - began_s)
    longest_s = min(LONGEST_PAUSE_S, took_s * ATTEMPTS_PAUSED * 2 ** min(attempt, 10))
    time.sleep(random.uniform(0, longest_s))  # noqa: S311 - dice, no secret
