"""How far a job's legs are, in its checkpoint folder: what goes with the run to its next machine."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from .files import read_json, write_atomically
from .wire import Json

if TYPE_CHECKING:
    from collections.abc import Iterable

STATE_FILE = "state.json"


class Progress:
    """Which trials were begun, how often, and which are finished; a trial is called `LEG/REPEAT`."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        self.path = f"{folder}/{STATE_FILE}"
        self.begun: dict[str, int] = {}
        self.finished: set[str] = set()
        self.read()

    def read(self) -> None:
        """Go on from what an earlier machine wrote; what is no such file counts for nothing."""
        try:
            found = read_json(self.path) or {}
            self.begun = counts_of(found["begun"].items())
            self.finished = {str(name) for name in found["finished"]}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.begun, self.finished = {}, set()

    def begin(self, name: str) -> int:
        """Note that the trial begins; gives how often it has begun before. Raises `OSError`."""
        before = self.begun.get(name, 0)
        self.begun[name] = before + 1
        self.write()
        return before

    def finish(self, name: str) -> None:
        """Note that the trial's record is there: it is not begun again. Raises `OSError`."""
        self.finished.add(name)
        self.write()

    def write(self) -> None:
        """Replace the file."""
        write_atomically(self.path, json.dumps({"begun": self.begun, "finished": sorted(self.finished)}))


def counts_of(items: Iterable[tuple[Json, Json]]) -> dict[str, int]:
    """Only what is a count."""
    return {str(name): count for name, count in items if isinstance(count, int) and count > 0}
