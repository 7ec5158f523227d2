"""A line to the machine of a run that already has one."""

from __future__ import annotations

from launcher.aws import fleet
from launcher.errors import RemoteError
from launcher.live import LiveRun
from launcher.sync.connection import Line

CONNECT_TIMEOUT_S = 60.0


def reach(live: LiveRun) -> Line:
    """Open a line to the run's machine as it stands.

    Raises `RemoteError` when the run has no running machine, or it cannot be reached.
    """
    running = [each for each in fleet.find(live.aws, run_id=live.run_id) if each.state == "running"]
    if not running:
        raise RemoteError(
            f"run {live.run_id} has no running machine",
            hint=f"what came home lies in {live.record.results_dir}; gpurun status {live.run_id} tells the rest",
        )
    line = live.open_line(running[0])
    line.fresh(CONNECT_TIMEOUT_S)
    return line
