"""What a job wrote last: it mostly says why it failed."""

from __future__ import annotations

import contextlib
import os

READ_BYTES = 4096
SIGNS = 200


def last_line(log: str, since: int) -> str:
    """The last line that says something in the log after `since` bytes; empty where there is none."""
    with contextlib.suppress(OSError):
        with open(log, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since, size - READ_BYTES))
            text = file.read(READ_BYTES).decode("utf-8", "replace")
        # A progress bar begins its line again and again.
        lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
        return next((line[:SIGNS] for line in reversed(lines) if line), "")
    return ""


def size_bytes(log: str) -> int:
    """How long the log is; 0 where there is none."""
    with contextlib.suppress(OSError):
        return os.path.getsize(log)
    return 0
