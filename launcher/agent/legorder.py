"""What is refused of a job's legs, before anything of it is started."""

from __future__ import annotations

import re

from .wire import Json, Refusal

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,@+-]{0,127}")
"""A folder's name on any file system, and a word in any shell; `launcher.spec.legs` holds the same."""


def check_legs(order: Json) -> None:
    """Refuse legs whose names would lead elsewhere, or to the same folder."""
    legs = order.get("legs") or []
    for leg in legs:
        if not isinstance(leg["name"], str) or not SAFE_NAME.fullmatch(leg["name"]):
            raise Refusal(f"a leg cannot be called {leg['name']!r}")
    if len({leg["name"].lower() for leg in legs}) < len(legs):
        raise Refusal("two legs have one name")
