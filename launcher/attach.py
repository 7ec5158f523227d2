"""The lines to the machine of a run that already has one."""

from __future__ import annotations

from launcher.aws import fleet
from launcher.errors import CredentialsError, GpurunError, MachineGone
from launcher.live import LiveRun
from launcher.sync.wire.lines import Lines

CONNECT_TIMEOUT_S = 60.0


def reach(live: LiveRun) -> Lines:
    """Open the lines to the run's machine as it stands.

    Raises `MachineGone` when the run has no running machine, `RemoteError` when it cannot be reached.
    """
    running = [each for each in fleet.find(live.aws, run_id=live.run_id) if each.state == "running"]
    if not running:
        raise MachineGone(
            f"run {live.run_id} has no running machine",
            hint=f"what came home lies in {live.record.results_dir}; gpurun status {live.run_id} tells the rest",
        )
    lines = live.open_lines(running[0])
    lines.control.fresh(CONNECT_TIMEOUT_S)
    return lines


def raise_if_gone(live: LiveRun) -> None:
    """Raise `MachineGone`, with EC2's reason, when the run's machine ended; silent while EC2 cannot be asked."""
    try:
        instances = fleet.find(live.aws, run_id=live.run_id)
    except CredentialsError:
        raise
    except GpurunError:  # the laptop is offline: the line will be dialled again
        return
    if any(instance.state in {"pending", "running"} for instance in instances):
        return
    reason = next((instance.state_reason for instance in instances if instance.state_reason), "terminated")
    raise MachineGone(
        f"the machine of run {live.run_id} is gone: {reason}",
        hint=f"what came home lies in {live.record.results_dir}; its log: gpurun logs {live.run_id}",
    )
