"""The lines to the machine of a run that already has one."""

from __future__ import annotations

from contextlib import suppress

from launcher.aws import fleet, network
from launcher.errors import CredentialsError, GpurunError, MachineGone
from launcher.live import LiveRun
from launcher.search import tags_of
from launcher.sync.wire.lines import Lines

CONNECT_TIMEOUT_S = 60.0


def reach(live: LiveRun) -> Lines:
    """Open the lines to the run's machine as it stands.

    Raises `MachineGone` when the run has no running machine, `RemoteError` when it cannot be reached.
    """
    found = fleet.find(live.aws, run_id=live.run_id)
    running = [each for each in found if each.instance_id == live.record.instance_id and each.state == "running"]
    if not running:
        reason = next((each.state_reason for each in found if each.instance_id == live.record.instance_id), "")
        raise MachineGone(
            f"run {live.run_id} has no running machine",
            hint=f"what came home lies in {live.record.results_dir}; gpurun status {live.run_id} tells the rest",
            reason=reason.partition(":")[0],
        )
    lines = live.open_lines(running[0])
    lines.control.fresh(CONNECT_TIMEOUT_S)
    return lines


def still_there(live: LiveRun) -> bool:
    """Whether EC2 says that the run's machine is; `False` where it cannot be asked.

    Raises `MachineGone`, with EC2's reason, when the machine has ended, and `CredentialsError`.
    """
    try:
        instances = fleet.find(live.aws, run_id=live.run_id)
    except CredentialsError:
        raise
    except GpurunError:  # the laptop is offline: the line will be dialled again
        return False
    mine = [each for each in instances if each.instance_id == live.record.instance_id]
    if any(each.state in {"pending", "running"} for each in mine):
        return True
    reason = next((each.state_reason for each in mine if each.state_reason), "terminated")
    raise MachineGone(
        f"the machine of run {live.run_id} is gone: {reason}",
        hint=f"what came home lies in {live.record.results_dir}; its log: gpurun logs {live.run_id}",
        reason=reason.partition(":")[0],
    )


def let_in(live: LiveRun) -> None:
    """Have the machine's door follow the laptop to the address that it has now; a failure is no news."""
    with suppress(GpurunError):
        address = network.follow_address(live.aws, run_id=live.run_id, tags=tags_of(live))
        if address is not None:
            live.event("address", address=address)
            live.reporter.note(f"this laptop is at {address} now; the machine's door is open to it")
