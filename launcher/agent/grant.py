"""What the launcher lets this machine write to its store: a signed form, which is a credential and is never shown."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from .files import at_home, read_json, write_atomically

if TYPE_CHECKING:
    from .wire import Json, Wire


def path_of(run: str) -> str:
    """Where a run's grant lies."""
    return f"{run}/grant"


def grant(_wire: Wire, request: Json) -> Json:
    """Put a grant in the place of the one before it; only this user can read it."""
    run = at_home(request["run"])
    os.makedirs(run, mode=0o700, exist_ok=True)
    write_atomically(path_of(run), json.dumps(request["grant"]))
    return {}


def granted(run: str) -> Json | None:
    """The grant; `None` where none has come yet."""
    return read_json(path_of(run))


def version(run: str) -> tuple[int, int]:
    """Another word for each grant that comes."""
    try:
        found = os.stat(path_of(run))
    except FileNotFoundError:
        return (0, 0)
    return (found.st_ino, found.st_mtime_ns)
