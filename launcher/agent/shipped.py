"""What a run's shipper says it has sent, for whoever asks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .files import read_json

if TYPE_CHECKING:
    from .wire import Json

PATIENCE_S = 10.0
"""A failure that passes within this is not told."""


def shipped_path(run: str) -> str:
    """Where the shipper writes it down."""
    return f"{run}/shipped.json"


def shipped(run: str) -> Json:
    """What is there, with ages in the place of moments, since clocks differ; `None` where nothing is shipped."""
    try:
        said = read_json(shipped_path(run))
    except ValueError:
        return None
    if said is None:
        return None
    told = {
        name: said[name] for name in ("generation", "segment", "files", "size_bytes", "final", "error_kind", "error")
    }
    return dict(told, age_s=age(said["at"]), failing_s=age(said["failing_since"]))


def age(moment: float | None) -> float | None:
    """Seconds since then."""
    return None if moment is None else max(0.0, time.time() - moment)


def failing(told: Json) -> str:
    """What somebody must know of: the kind of a failure that does not pass by itself."""
    if not told or not told["error_kind"]:
        return ""
    lasting = told["error_kind"] in ("refused", "unreadable") or (told["failing_s"] or 0) > PATIENCE_S
    return str(told["error_kind"]) if lasting else ""
