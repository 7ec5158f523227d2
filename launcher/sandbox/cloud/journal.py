"""What was called, when, and what came of it."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from launcher.sandbox.cloud.wire import Answer, Call

_KEPT = 5000


class Journal:
    """The last few thousand calls."""

    def __init__(self) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def note(self, call: Call, started: float, answer: Answer | None, fault: str, refused: str = "") -> None:
        """One call, answered or dropped; `started` is on the monotonic clock, `refused` what a role may not do."""
        took_s = time.monotonic() - started
        entry = {
            "time": time.time() - took_s,
            "service": call.service,
            "access_key": call.access_key,
            "region": call.region,
            "action": call.action,
            "status": answer.status if answer is not None else None,
            "fault": fault,
            "refused": refused,
            "took_s": round(took_s, 4),
            "params": {k: str(v)[:200] for k, v in call.params.items() if "UserData" not in k},
        }
        with self._lock:
            self._entries.append(entry)

    def listed(self) -> list[dict[str, Any]]:
        """Oldest first."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forget them."""
        with self._lock:
            self._entries.clear()
