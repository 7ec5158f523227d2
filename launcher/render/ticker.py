"""Something that is due now and then, also while nothing else happens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager


class Ticker:
    """Calls `tick` every `every_s` in a thread of its own, for as long as it says that more is to come.

    `tick` runs under `lock`, and `wake` must be called under it.
    """

    def __init__(self, every_s: float, tick: Callable[[], bool], lock: AbstractContextManager[object]) -> None:
        self._every_s = every_s
        self._tick = tick
        self._lock = lock
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Tick from now on; harmless while it does."""
        if self._thread is None and not self._stopped.is_set():
            self._thread = threading.Thread(target=self._run, name="gpurun-ticker", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Tick no longer; to be called outside the lock."""
        self._stopped.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            with self._lock:
                if not self._tick():
                    self._thread = None
                    return
