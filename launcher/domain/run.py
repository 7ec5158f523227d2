"""What a run is called and where it stands."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

RunId = NewType("RunId", str)

TAG_RUN = "gpurun:run"
TAG_NAME = "gpurun:name"
TAG_DEADLINE = "gpurun:deadline"
TAG_SEGMENT = "gpurun:segment"


class RunStatus(StrEnum):
    """Where a run stands; the last three are final."""

    PLANNED = "planned"
    PROVISIONING = "provisioning"
    BOOTING = "booting"
    SYNCING = "syncing"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FETCHING = "fetching"
    TERMINATING = "terminating"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing follows: no machine is left and nothing is billed."""
        return self in {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED}


TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.PLANNED: frozenset({RunStatus.PROVISIONING, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.PROVISIONING: frozenset({RunStatus.BOOTING, RunStatus.INTERRUPTED, RunStatus.TERMINATING}),
    RunStatus.BOOTING: frozenset({RunStatus.SYNCING, RunStatus.INTERRUPTED, RunStatus.TERMINATING}),
    RunStatus.SYNCING: frozenset({RunStatus.RUNNING, RunStatus.INTERRUPTED, RunStatus.TERMINATING}),
    RunStatus.RUNNING: frozenset({RunStatus.FETCHING, RunStatus.INTERRUPTED, RunStatus.TERMINATING}),
    RunStatus.INTERRUPTED: frozenset({RunStatus.PROVISIONING, RunStatus.TERMINATING}),
    RunStatus.FETCHING: frozenset({RunStatus.TERMINATING, RunStatus.INTERRUPTED}),
    RunStatus.TERMINATING: frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.SUCCEEDED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}
"""What may follow what. A resumed run may also stay where it is: `a -> a` is always allowed."""
