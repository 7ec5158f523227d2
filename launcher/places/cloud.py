"""AWS as the place of a run; each function is `seam.Place`'s."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime

from launcher import door, lifeline
from launcher.acquire import acquire
from launcher.aws import fleet, killswitch, network
from launcher.aws.refusals import Pool
from launcher.domain import Instance, Segment
from launcher.errors import GpurunError, ProvisionError
from launcher.live import LiveRun
from launcher.places.removal import remove_everything
from launcher.ports import Lines
from launcher.search import tags_of
from launcher.sync.wire.lines import Lines as SshLines

TERMINATE_TIMEOUT_S = 300.0
BOOT_TIMEOUT_S = 300.0
"""A g5 boots in 30 to 90 s; five minutes without SSH is a broken image or a closed door."""

replaceable = True


def apart(_live: LiveRun) -> bool:
    """A machine is gone with all that lies there."""
    return True


def find(live: LiveRun, region: str) -> Sequence[Instance]:
    """What carries the run's tag in a region."""
    return fleet.find(live.aws.at(region), run_id=live.run_id)


def make(live: LiveRun, segment: int, *, avoid: frozenset[Pool], wait_until: datetime | None) -> Instance:
    """Buy one; raises a `ProvisionError` that names every pool's refusal."""
    return acquire(live, segment=segment, avoid=avoid, wait_until=wait_until).instance


def arm(live: LiveRun, instance: Instance, segment: int) -> None:
    """Set the kill switch in the cloud before anything waits; a run without one is held by its machine's timer."""
    if any(data["id"] == instance.instance_id for data in live.told("armed")):
        return
    aws = live.aws.at(instance.region)
    try:
        armed = killswitch.arm(
            aws,
            run_id=live.run_id,
            segment=segment,
            instance_ids=[instance.instance_id],
            deadline=live.deadline,
            role_arn=killswitch.role(aws),
        )
    except GpurunError as error:
        if not live.has_event("unarmed"):
            live.reporter.note(f"{error.message}; {error.hint}")
        live.event("unarmed", error=error.message, segment=segment)
        return
    live.event("armed", id=instance.instance_id, region=instance.region, name=armed.name, at=armed.fires_at)


def ready(live: LiveRun, instance: Instance) -> Instance:
    """Wait until EC2 says that a machine runs, and where, and open its door to this laptop.

    Raises `MachineGone` where it ended before, and `HostUnreachable` where it does not come up in time.
    """
    aws = live.aws.at(instance.region)
    if door.is_open(live, instance.instance_id):
        return fleet.wait_running(aws, instance.instance_id, timeout_s=BOOT_TIMEOUT_S)
    with ThreadPoolExecutor(1) as pool:
        group = pool.submit(door.make, live, instance.region)
        running = fleet.wait_running(aws, instance.instance_id, timeout_s=BOOT_TIMEOUT_S)
        group_id = group.result()
    try:
        door.put_on(live, running, group_id)
    except ProvisionError:
        # One that is taken back in this very moment has no door any more.
        fleet.wait_running(aws, instance.instance_id, timeout_s=BOOT_TIMEOUT_S)
        raise
    return running


def lines(live: LiveRun, instance: Instance) -> Lines:
    """SSH, with the host key that the machine was given."""
    return SshLines(live.endpoint(instance))


def let_in(live: LiveRun, region: str) -> None:
    """Have the machine's door follow the laptop to the address that it has now; a failure is no news."""
    with suppress(GpurunError):
        address = network.follow_address(live.aws.at(region), run_id=live.run_id, tags=tags_of(live))
        if address is not None:
            live.event("address", address=address)
            live.reporter.note(f"this laptop is at {address} now; the machine's door is open to it")


def end(live: LiveRun, segment: Segment) -> None:
    """Terminate a machine and see it terminated; raises what AWS answers otherwise."""
    aws = live.aws.at(segment.region)
    fleet.terminate(aws, [segment.instance_id])
    fleet.wait_terminated(aws, [segment.instance_id], timeout_s=TERMINATE_TIMEOUT_S)


def vacate(live: LiveRun) -> None:
    """Machines, switches, templates and doors; raises what AWS answers where the end cannot be verified."""
    remove_everything(live)


def left(live: LiveRun, *, held: bool) -> str:
    """It ends itself."""
    if held:
        return f"the machine ends itself at {live.deadline:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f"the machine ends itself {lifeline.RESULTS_GRACE_S / 60:.0f} minutes after its job, "
        f"and at {live.deadline:%Y-%m-%d %H:%M:%S} UTC at the latest"
    )
