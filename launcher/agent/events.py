"""What happens to a job beside its log, told to whoever follows that."""

from __future__ import annotations

import time

from . import checkpoint
from .job import run_paths
from .shipped import failing
from .wire import Json, Wire

LOOK_S = 1.0
LOOK_SHARE = 20
"""A large folder of checkpoints is looked at no more than a twentieth of the time."""


class Events:
    """Tells of the machine's end and of new checkpoints, each once and again when it is another."""

    def __init__(self, wire: Wire, run: str) -> None:
        self.wire = wire
        self.folder = run_paths(run)["checkpoint"]
        self.interruption: Json = None
        self.checkpoint = ""
        self.failing = ""
        self.look_at = 0.0

    def tell(self, report: Json) -> None:
        """Tell what is new."""
        noted = report.get("interruption")
        if noted and noted["noticed_at"] != self.interruption:
            self.interruption = noted["noticed_at"]
            self.wire.send_json({"interruption": noted})
        problem = failing(report.get("shipped"))
        if problem != self.failing:
            self.failing = problem
            self.wire.send_json({"shipped": report["shipped"]})
        now = time.monotonic()
        if now >= self.look_at:
            found = checkpoint.state_of(self.folder)
            self.look_at = now + max(LOOK_S, LOOK_SHARE * (time.monotonic() - now))
            if found != self.checkpoint:
                self.checkpoint = found
                self.wire.send_json({"checkpoint": found})
