"""How many batches to train at once: few enough to hear soon that one should stop, many enough to be quick."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from jobs.network import Stretch

STRETCH_SECONDS = 0.25
FIRST_BATCHES = 1
"""Of the largest nets one batch is half a second."""


@dataclass(slots=True)
class Pace:
    """Measures the stretches as they go by; what is computed does not depend on where they end."""

    batches: int = FIRST_BATCHES
    measured: int = 0

    def run(self, stretch: Stretch, train: Callable[[Stretch], int]) -> int:
        """Train on it and learn from how long that took; the first time, compiling is most of it."""
        started = time.perf_counter()
        reached = train(stretch)
        seconds = time.perf_counter() - started
        self.measured += 1
        if self.measured > 1:
            self.batches = max(1, int(STRETCH_SECONDS * (stretch.last - stretch.first) / max(seconds, 1e-6)))
        return reached
