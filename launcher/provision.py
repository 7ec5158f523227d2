"""A segment's machine: the one that there is, or a new one, running and with an address."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from launcher import places
from launcher.acquire import asked_to_wait, offer_of
from launcher.aws.refusals import Pool
from launcher.domain import TAG_SEGMENT, Instance, RunStatus, Segment
from launcher.errors import MachineGone
from launcher.live import LiveRun

SHORTEST_WORK = timedelta(minutes=2)
"""A machine that would be had for less is not waited for."""


def machine(live: LiveRun, *, avoid: frozenset[Pool] = frozenset()) -> Instance:
    """The machine of the run's present segment: the one it has, or a new one; the run's row is about it from now on.

    Raises a `ProvisionError` that names every pool's refusal, and `MachineGone` when the segment's machine is gone.
    """
    instance = find_or_make(live, live.record.segment, avoid=avoid, wait_until=_patience(live))
    move_to(live, instance, live.record.segment)
    return instance


def _patience(live: LiveRun) -> datetime | None:
    """Until when a machine is waited for: a run that has lost one has work to save, and is billed nothing meanwhile."""
    if live.record.segment == 1:
        return asked_to_wait(live)
    return live.deadline - SHORTEST_WORK


def find_or_make(
    live: LiveRun, number: int, *, avoid: frozenset[Pool] = frozenset(), wait_until: datetime | None = None
) -> Instance:
    """The machine of a segment, noted in the ledger, waited for until `wait_until`; raises as `machine` does."""
    asked = [data["region"] for data in live.told("fleet.intent") if data.get("segment", 1) == number]
    noted = next((each for each in live.ledger.segments(live.run_id) if each.number == number), None)
    if noted is not None or asked:
        found = _existing(live, number, {*asked, *([noted.region] if noted else [])}, noted)
        if found is not None:
            return found
    return _noted(live, places.of(live).make(live, number, avoid=avoid, wait_until=wait_until), number)


def _existing(live: LiveRun, number: int, regions: set[str], noted: Segment | None) -> Instance | None:
    of_run = [each for region in sorted(regions) for each in places.of(live).find(live, region)]
    instances = [each for each in of_run if each.tags.get(TAG_SEGMENT, "1") == str(number)]
    standing = [each for each in instances if each.state in {"pending", "running"}]
    if standing:
        return _noted(live, standing[0], number)
    if instances or noted is not None:
        reason = instances[0].state_reason if instances else ""
        raise MachineGone(
            f"the machine of run {live.run_id} is gone: {reason or 'EC2 does not know it any more'}",
            hint=f"what came home lies in {live.record.results_dir}; `gpurun down {live.run_id}` closes the run",
            reason=reason.partition(":")[0],
        )
    return None


def _noted(live: LiveRun, instance: Instance, number: int) -> Instance:
    """The machine, written down before anything is done with it: from now on it is billed."""
    price = offer_of(live.plan, instance).price_usd_per_hour
    segment = Segment(
        number=number,
        instance_id=instance.instance_id,
        instance_type=instance.instance_type,
        region=instance.region,
        zone=instance.zone,
        market=instance.market.value,
        price_usd_per_hour=price,
        began_at=datetime.now(UTC),
    )
    live.ledger.begin_segment(live.run_id, segment)
    live.event("instance", id=instance.instance_id, zone=instance.zone, price_usd_per_hour=price, segment=number)
    places.of(live).arm(live, instance, number)
    return instance


def move_to(live: LiveRun, instance: Instance, number: int) -> None:
    """Make a machine the run's present one."""
    noted = next(each for each in live.ledger.segments(live.run_id) if each.number == number)
    live.update(
        segment=number,
        instance_id=instance.instance_id,
        instance_type=instance.instance_type,
        zone=instance.zone,
        region=instance.region,
        market=instance.market.value,
        price_usd_per_hour=noted.price_usd_per_hour,
        address=instance.public_address or instance.private_address,
    )
    if live.cloud is not None and instance.region:
        live.cloud = live.cloud.at(instance.region)


def boot(live: LiveRun, instance: Instance) -> Instance:
    """Wait until the run's machine can be dialled, and where.

    Raises `MachineGone` where it ended before, and `HostUnreachable` where it does not come up in time.
    """
    if live.record.status is RunStatus.PROVISIONING:
        live.advance(RunStatus.BOOTING)
    ready = places.of(live).ready(live, instance)
    live.update(address=ready.public_address or ready.private_address)
    return ready
