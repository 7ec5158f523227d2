"""Many hosts at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_twenty_hosts_at_once(every_bench: Any, record_property: Any) -> None:
    began_s = time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        all_booted = list(pool.map(lambda _: every_bench.boot().wait(), range(20)))
        record_property("login_s", round(time.monotonic() - began_s, 2))
        names = set(pool.map(lambda booted: booted.out("cat ~/.ssh/authorized_keys"), all_booted))
        assert len(names) == 20
        record_property("pss_kib_per_host", _pss_kib() // 20)
        released_s = time.monotonic()
        list(pool.map(lambda booted: booted.host.release(), all_booted))
        record_property("release_s", round(time.monotonic() - released_s, 2))


def _pss_kib() -> int:
    """Memory of all processes that are hosts', shared pages counted in proportion (proc(5), smaps_rollup)."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            if b"guest" in words or words.startswith(b"sshd:"):
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total
