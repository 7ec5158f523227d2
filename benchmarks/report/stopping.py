"""How a benchmark is stopped: what it started and wrote for a while is removed on the way out."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stoppable(advice: str) -> Iterator[None]:
    """SIGTERM and SIGHUP unwind as an exception does; after Ctrl-C the last word is `advice`."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"stopped; {advice}")


def _stop(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)
