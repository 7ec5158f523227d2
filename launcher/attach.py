"""The lines to the machine of a run that already has one."""

from __future__ import annotations

import time

from launcher import places
from launcher.domain import Instance
from launcher.errors import CredentialsError, GpurunError, HostUnreachable, MachineGone
from launcher.live import LiveRun
from launcher.ports import Connection, Line, Lines

CONNECT_TIMEOUT_S = 60.0
LOOK_EVERY_S = 15.0
"""How long a machine that boots is dialled before EC2 is asked whether it still is."""


def reach(live: LiveRun) -> Lines:
    """Open the lines to the run's machine as it stands.

    Raises `MachineGone` when the run has no running machine, `RemoteError` when it cannot be reached.
    """
    found = places.of(live).find(live, live.record.region)
    running = [each for each in found if each.instance_id == live.record.instance_id and each.state == "running"]
    if not running:
        reason = next((each.state_reason for each in found if each.instance_id == live.record.instance_id), "")
        raise MachineGone(
            f"run {live.run_id} has no running machine",
            hint=f"what came home lies in {live.record.results_dir}; gpurun status {live.run_id} tells the rest",
            reason=reason.partition(":")[0],
        )
    lines = open_lines(live, running[0])
    lines.control.fresh(CONNECT_TIMEOUT_S)
    return lines


def open_lines(live: LiveRun, instance: Instance) -> Lines:
    """The lines to the machine, kept as long as it is the run's; nothing is dialled yet."""
    if live.lines is not None:
        return live.lines
    lines = places.of(live).lines(live, instance)
    live.take_lines(lines)
    return lines


def until_up(live: LiveRun, line: Line, instance: Instance, timeout_s: float) -> Connection:
    """The first connection to a machine that boots; its door follows this laptop meanwhile.

    Raises `MachineGone` where it ends before it answers. One that does not answer in time raises `HostUnreachable` as
    the run's first, since the way there may be closed for good, and `MachineGone` once another one has been reached.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return line.fresh(min(LOOK_EVERY_S, max(deadline - time.monotonic(), 1.0)))
        except HostUnreachable as error:
            asked = still_there(live, instance)
            if time.monotonic() < deadline:
                let_in(live, instance.region)
            elif asked and live.has_event("job.started"):
                raise MachineGone(
                    f"machine {instance.instance_id} runs, says EC2, but did not answer within {timeout_s:.0f} s",
                    hint=f"gpurun status {live.run_id}",
                ) from error
            else:
                raise _never_up(instance, error, timeout_s) from error


def _never_up(instance: Instance, error: HostUnreachable, timeout_s: float) -> HostUnreachable:
    """The last attempt's error, told of the whole time."""
    _, _, why = error.message.rpartition(" s: ")
    return HostUnreachable(
        f"machine {instance.instance_id} never answered SSH, within {timeout_s:.0f} s of its start: {why}",
        hint="gpurun launch takes another machine; where it is always so, look at resources.image and the VPC",
    )


def still_there(live: LiveRun, instance: Instance | None = None) -> bool:
    """Whether EC2 says that a machine of the run is, its present one if none is named; `False` if it cannot be asked.

    Raises `MachineGone`, with EC2's reason, when the machine has ended, and `CredentialsError`.
    """
    # A successor may lie in another region than the present machine.
    region = live.record.region if instance is None else instance.region
    wanted = live.record.instance_id if instance is None else instance.instance_id
    try:
        instances = places.of(live).find(live, region)
    except CredentialsError:
        raise
    except GpurunError:  # the laptop is offline: the line will be dialled again
        return False
    mine = [each for each in instances if each.instance_id == wanted]
    if any(each.state in {"pending", "running"} for each in mine):
        return True
    reason = next((each.state_reason for each in mine if each.state_reason), "terminated")
    raise MachineGone(
        f"the machine of run {live.run_id} is gone: {reason}",
        hint=f"what came home lies in {live.record.results_dir}; its log: gpurun logs {live.run_id}",
        reason=reason.partition(":")[0],
    )


def let_in(live: LiveRun, region: str | None = None) -> None:
    """Have the machine's door follow the laptop to the address that it has now; a failure is no news."""
    places.of(live).let_in(live, region or live.record.region)
