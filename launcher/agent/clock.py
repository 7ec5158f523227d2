"""The machine's own time, which nobody sets: a skewed or jumping wall clock moves no deadline."""

from __future__ import annotations

import time

SOURCE = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Counts on while the machine sleeps, where there is such a clock."""


def now_s() -> float:
    """Seconds since some moment at or before the machine's start, the same for all its processes."""
    return time.clock_gettime(SOURCE)
