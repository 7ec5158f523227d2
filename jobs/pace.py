"""How many batches to train at once: few enough to hear soon that one should stop, many enough to be quick."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

STRETCH_SECONDS = 0.25
FIRST_BATCHES = 4


@dataclass(slots=True)
class Pace:
    """Measures the stretches as they go by; what is computed does not depend on where they end."""

    batches: int = FIRST_BATCHES
    measured: int = 0

    def run(self, batches: int, train: Callable[[], None]) -> None:
        """Train for `batches` and learn from how long it took; the first time, compiling is most of it."""
        started = time.perf_counter()
        train()
        seconds = time.perf_counter() - started
        self.measured += 1
        if self.measured > 1:
            self.batches = max(1, int(STRETCH_SECONDS * batches / max(seconds, 1e-6)))
