"""What a machine tells beside the job's log."""

from __future__ import annotations

import re
from dataclasses import dataclass

from launcher.domain import Interruption
from launcher.errors import TransferError
from launcher.sync.names import told
from launcher.sync.reports import to_interruption
from launcher.sync.wire.frames import Json

_STATE = re.compile(r"[0-9a-f]{0,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointChanged:
    """The files in GPURUN_CHECKPOINT_DIR are others than before; they may still be growing."""

    state: str
    """Another one for other names, sizes or times; empty: there are none."""


Event = Interruption | CheckpointChanged


def event_of(said: Json) -> Event | None:
    """The event in a frame, if there is one; raises `TransferError` on nonsense."""
    if "interruption" in said:
        return to_interruption(said["interruption"])
    if "checkpoint" not in said:
        return None
    state = said["checkpoint"]
    if not isinstance(state, str) or not _STATE.fullmatch(state):
        raise TransferError(f"the machine told of a checkpoint in words that are none: {told(repr(state))}")
    return CheckpointChanged(state=state)
