"""How many requests go to AWS: each may be throttled, and takes its time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import botocore.session


class Calls:
    """Counts the requests of a session's clients, retries included; safe to share between threads."""

    def __init__(self, session: botocore.session.Session) -> None:
        """Count from now on; only clients made after this are counted."""
        self._lock = threading.Lock()
        self._count = 0
        session.register("before-send", self._note)

    def take(self) -> int:
        """How many there were since this was last asked."""
        with self._lock:
            count, self._count = self._count, 0
        return count

    def _note(self, **_: object) -> None:
        # What a handler of this event returns, botocore takes for the answer: nothing.
        with self._lock:
            self._count += 1
