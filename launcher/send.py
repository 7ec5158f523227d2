"""Code and data up: over as many lines as it takes."""

from __future__ import annotations

from launcher.errors import HostUnreachable
from launcher.live import LiveRun
from launcher.sync.memory import Memory
from launcher.sync.tree import Scan
from launcher.sync.upload import Transferred, push

ATTEMPTS = 5


def send(live: LiveRun, scan: Scan, remote_dir: str, *, label: str) -> Transferred:
    """Make a folder of the run's machine hold what was scanned; an attempt goes on from what the last one brought.

    Raises `TransferError` when it cannot be done and `HostUnreachable` when no line holds.
    """
    memory = Memory(live.state.memory)
    for attempt in range(1, ATTEMPTS + 1):
        if live.lines is None:
            break
        try:
            sent = push(live.lines, scan, remote_dir, live.reporter.transfer, label, memory=memory)
        except HostUnreachable:
            if attempt == ATTEMPTS:
                raise
            live.reporter.warn("the line broke during the upload; going on over a new one")
        else:
            for name in sent.changed:
                live.reporter.warn(f"{name} changed while it was read; what went up is the newer state")
            memory.forget_old()
            return sent
    raise HostUnreachable("no line to the machine", hint=f"gpurun resume {live.run_id}")
