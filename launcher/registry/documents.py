"""JSON documents of the store: written the same way each time, read with suspicion."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from launcher.errors import WeightsError

MAX_BYTES = 16 << 20
"""Of one document; the arrays lie elsewhere."""


def dump(values: dict[str, Any]) -> bytes:
    """The bytes that are kept: sorted, indented, UTF-8, a newline at the end."""
    return (json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n").encode(
        "utf-8", "backslashreplace"
    )


def load(data: bytes, where: str) -> dict[str, Any]:
    """What `dump` wrote; raises `WeightsError` that names the document."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise broken(where, "it is not JSON") from None
    if not isinstance(found, dict):
        raise broken(where, "it is not a table")
    return found


def broken(where: str, why: str) -> WeightsError:
    """The error for a document that nobody of ours wrote so."""
    return WeightsError(f"{where} is damaged: {why}", hint="gpurun weights verify looks at everything that is kept")


def positive(value: Any) -> bool:
    """Whether it is a whole number from 1 on; JSON's `true` is none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def now() -> str:
    """The present moment, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
