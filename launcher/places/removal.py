"""All that AWS made for a run, removed: its machines first, and seen to be gone, then the rest, in every region."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from launcher.acquire import offer_of
from launcher.aws import fleet, killswitch, network, refusals, template
from launcher.aws.client import Aws
from launcher.domain import TAG_SEGMENT, Instance, Segment
from launcher.errors import GpurunError, LedgerError
from launcher.live import LiveRun, now

TERMINATE_TIMEOUT_S = 300.0
UNHEARD_S = 20.0
"""By when a machine whose launch was sent must show under its tag: DescribeInstances is eventually consistent."""
UNHEARD_POLL_S = 1.0


def remove_everything(live: LiveRun) -> None:
    """Machines, switches, templates and doors; raises what AWS answers where the end cannot be verified."""
    regions = _regions(live)
    with ThreadPoolExecutor(max(1, len(regions))) as pool:
        list(pool.map(lambda region: _remove_in(live, live.aws.at(region)), sorted(regions)))
    with suppress(LedgerError):
        for resource in live.ledger.open_resources(live.run_id):
            live.ledger.released(resource.resource_id)


def _regions(live: LiveRun) -> set[str]:
    """Where something of the run may still be."""
    try:
        return {resource.region for resource in live.ledger.open_resources(live.run_id)}
    except LedgerError:
        return {live.record.region}


def _remove_in(live: LiveRun, aws: Aws) -> None:
    ids = _machines(live, aws)
    fleet.terminate(aws, ids)
    with ThreadPoolExecutor(1) as pool:
        templates = pool.submit(_delete_templates, live, aws)
        fleet.wait_terminated(aws, ids, timeout_s=TERMINATE_TIMEOUT_S)
    with suppress(LedgerError):
        _close_segments(live, aws.region)
        _disarm(live, aws)
        # What ended frees its quota and its place.
        refusals.lift(live.ledger.cache, aws)
    _delete_door(live, aws)
    templates.result()  # last: a template that stays costs nothing, and must not keep the door open


def _delete_templates(live: LiveRun, aws: Aws) -> None:
    try:
        names = _noted(live, aws, "launch-template")
    except LedgerError:
        fleet.delete_template(aws, run_id=live.run_id)
        return
    for name, _ in names:
        template.delete_by_name(aws, name)


def _delete_door(live: LiveRun, aws: Aws) -> None:
    """Delete the run's security group; one whose making was never answered is looked for by its tag."""
    try:
        groups = [group_id for _, group_id in _noted(live, aws, "security-group")]
    except LedgerError:
        groups = [None]
    if None in groups:
        network.close_ingress(aws, run_id=live.run_id)
        return
    for group_id in groups:
        network.remove_group(aws, group_id or "")


def _noted(live: LiveRun, aws: Aws, kind: str) -> list[tuple[str, str | None]]:
    """(token, AWS id) of what was made in the region and may still be there."""
    found = live.ledger.open_resources(live.run_id)
    return [(each.token, each.aws_id) for each in found if (each.kind, each.region) == (kind, aws.region)]


def _close_segments(live: LiveRun, region: str) -> None:
    for segment in live.ledger.segments(live.run_id):
        if segment.region == region:
            live.ledger.end_segment(live.run_id, segment.number)


def _disarm(live: LiveRun, aws: Aws) -> None:
    """A switch that stays fires at machines that are gone, and deletes itself: no reason to fail."""
    names = {data["name"] for data in live.told("armed") if data["region"] == aws.region}
    try:
        for name in sorted(names):
            killswitch.remove(aws, name)
    except GpurunError as error:
        live.reporter.warn(error.message)


def _machines(live: LiveRun, aws: Aws) -> list[str]:
    """The run's machines in a region; where a launch was sent and never answered, looked for until it must show."""
    unheard, noted = True, tuple[Segment, ...]()
    with suppress(LedgerError):
        unheard = _unheard(live, aws.region)
        noted = tuple(each for each in live.ledger.segments(live.run_id) if each.region == aws.region)
    if noted and not unheard:
        return [each.instance_id for each in noted if each.ended_at is None]
    known = {each.instance_id for each in noted}
    deadline = time.monotonic() + (UNHEARD_S if unheard else 0.0)
    while True:
        found = [each for each in fleet.find(aws, run_id=live.run_id) if not each.gone]
        unknown = [each for each in found if each.instance_id not in known]
        if unknown or time.monotonic() >= deadline:
            break
        time.sleep(UNHEARD_POLL_S)
    with suppress(LedgerError):
        for each in unknown:
            _note(live, each)
    return [each.instance_id for each in found]


def _note(live: LiveRun, instance: Instance) -> None:
    """A machine whose birth nobody heard of is billed too."""
    number = instance.tags.get(TAG_SEGMENT, "")
    segment = Segment(
        number=int(number) if number.isdecimal() else live.record.segment,
        instance_id=instance.instance_id,
        instance_type=instance.instance_type,
        region=instance.region,
        zone=instance.zone,
        market=instance.market.value,
        price_usd_per_hour=offer_of(live.plan, instance).price_usd_per_hour,
        began_at=instance.launched_at or now(),
    )
    live.ledger.begin_segment(live.run_id, segment)


def _unheard(live: LiveRun, region: str) -> bool:
    """Whether a CreateFleet was sent there and neither a machine nor a refusal was written down after it."""
    open_calls = 0
    for event in live.ledger.events(live.run_id):
        if event.kind == "fleet.intent" and event.data["region"] == region:
            open_calls = 1
        elif (event.kind == "instance" and str(event.data["zone"]).startswith(region)) or (
            event.kind == "fleet.refused" and event.data["region"] == region
        ):
            open_calls = 0
    return bool(open_calls)
