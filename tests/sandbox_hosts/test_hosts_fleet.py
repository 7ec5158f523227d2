"""Many hosts at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

HOSTS = 20
MEMORY_MIB_PER_HOST = 25


@pytest.mark.slow
def test_twenty_hosts_at_once(every_bench: Any) -> None:
    with ThreadPoolExecutor(12) as pool:
        all_booted = list(pool.map(lambda _: every_bench.boot().wait(), range(HOSTS)))
        keys = set(pool.map(lambda booted: booted.out("cat ~/.ssh/authorized_keys"), all_booted))
        assert len(keys) == HOSTS
        assert _memory_mib() / HOSTS < MEMORY_MIB_PER_HOST
        list(pool.map(lambda booted: booted.host.release(), all_booted))


def _memory_mib() -> float:
    """Of all processes below this one that are there all the while, pages they share counted in proportion."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            memory = process.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(memory, "pss", memory.rss)
    return total / (1 << 20)
