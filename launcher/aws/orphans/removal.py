"""The removal: all regions at once, machines first, since they hold the rest; no failure stops the others."""

from __future__ import annotations

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws import instances, killswitch, network, template
from launcher.aws.faults import code_of
from launcher.aws.orphans.found import KINDS, Failure, Orphan
from launcher.aws.orphans.looks import snapshots, volumes
from launcher.errors import GpurunError, ProvisionError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from launcher.aws.client import Aws

TERMINATE_TIMEOUT_S = 300.0
RELEASE_TIMEOUT_S = 120.0
"""By when a terminated machine has let go of its groups and disks."""
BATCH = 200
"""As many values as one filter takes (EC2 User Guide, "List and filter your resources")."""
AT_ONCE = 4
"""Calls in a region: EC2 refills a region's bucket of changing calls by some five a second."""

LOOSE = ("launch-template", "key-pair", "volume", "image", "security-group-rule")
"""What no machine holds."""
HELD = ("schedule", "address", "security-group", "snapshot")
"""What goes when the machines are seen to be gone: a schedule is their end if we fail; an image holds its snapshot."""


def remove_all(aws: Aws, orphans: Iterable[Orphan]) -> tuple[Failure, ...]:
    """Remove them for good, in the order of what holds what; what is gone already is no failure.

    A machine is seen to be terminated. Gives what could not be removed, in the order of `KINDS`.
    """
    by_region: dict[str, list[Orphan]] = defaultdict(list)
    for orphan in orphans:
        if orphan.kind not in KINDS:
            raise SpecError(f"{orphan.kind!r} is nothing that gpurun makes", hint=f"one of {', '.join(KINDS)}")
        by_region[orphan.region].append(orphan)
    with ThreadPoolExecutor(max(1, len(by_region))) as pool:
        failed = [
            each for some in pool.map(lambda item: _clear(aws.at(item[0]), item[1]), by_region.items()) for each in some
        ]
    return tuple(sorted(failed, key=lambda each: (KINDS.index(each.orphan.kind), each.orphan.region, each.orphan.id)))


def _clear(aws: Aws, orphans: Sequence[Orphan]) -> list[Failure]:
    """One region."""
    machines = [each for each in orphans if each.kind == "instance"]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        loose = [pool.submit(_remove, aws, each, 0.0) for kind in LOOSE for each in orphans if each.kind == kind]
        failed = _end(aws, machines)
        standing = {each.orphan.run_id for each in failed}
        failed += [failure for each in loose if (failure := each.result())]
        release_by = time.monotonic() + RELEASE_TIMEOUT_S
        held = [each for kind in HELD for each in orphans if each.kind == kind]
        kept = [each for each in held if each.kind == "schedule" and each.run_id in standing]
        failed += [Failure(orphan=each, error=_needed(each)) for each in kept]
        left = [*(each for each in held if each not in kept), *_left_by(aws, machines, orphans)]
        failed += [failure for failure in pool.map(lambda each: _remove(aws, each, release_by), left) if failure]
    return failed


def _needed(schedule: Orphan) -> ProvisionError:
    return ProvisionError(
        f"a machine of run {schedule.run_id} is not seen to be gone, so the schedule that ends it stays",
        hint="gpurun gc",
    )


def _end(aws: Aws, machines: Sequence[Orphan]) -> list[Failure]:
    """Terminate all, then see them terminated; one that may not be ended keeps the others from nothing."""
    refused: dict[str, GpurunError] = {}
    for some in _batches(machines):
        refused |= _terminate(aws, some)
    asked = [each for each in machines if each.id not in refused]
    deadline = time.monotonic() + TERMINATE_TIMEOUT_S
    for some in _batches(asked):
        refused |= _unfinished(aws, some, deadline)
    return [Failure(orphan=each, error=refused[each.id]) for each in machines if each.id in refused]


def _terminate(aws: Aws, machines: Sequence[Orphan]) -> dict[str, GpurunError]:
    """One call; where EC2 refuses it, one for each, since a single protected machine makes it refuse all."""
    try:
        instances.terminate(aws, [each.id for each in machines])
    except GpurunError as error:
        if len(machines) == 1:
            return {machines[0].id: error}
        return {name: why for each in machines for name, why in _terminate(aws, [each]).items()}
    return {}


def _unfinished(aws: Aws, machines: Sequence[Orphan], deadline: float) -> dict[str, GpurunError]:
    try:
        instances.wait_terminated(aws, [each.id for each in machines], max(0.0, deadline - time.monotonic()))
    except GpurunError as error:
        if len(machines) == 1:
            return {machines[0].id: error}
        return {name: why for each in machines for name, why in _unfinished(aws, [each], deadline).items()}
    return {}


def _batches(machines: Sequence[Orphan]) -> Iterator[Sequence[Orphan]]:
    for start in range(0, len(machines), BATCH):
        yield machines[start : start + BATCH]


def _left_by(aws: Aws, machines: Sequence[Orphan], known: Sequence[Orphan]) -> list[Orphan]:
    """The volumes that machines kept and do not take with them."""
    runs, ids = {each.run_id for each in machines} - {""}, {each.id for each in known}
    if not runs:
        return []
    try:
        with aws.errors("look for volumes of ended machines"):
            return [each for each in volumes(aws) if each.run_id in runs and each.id not in ids]
    except GpurunError:
        return []  # the next search finds them


def _remove(aws: Aws, orphan: Orphan, release_by: float) -> Failure | None:
    """Remove one thing; `release_by` is when waiting for what holds it ends, on the monotonic clock."""
    try:
        with aws.errors(f"remove {orphan.kind} {orphan.id}"):
            _WAYS[orphan.kind](aws, orphan, release_by)
    except GpurunError as error:
        return Failure(orphan=orphan, error=error)
    return None


def _group(aws: Aws, orphan: Orphan, release_by: float) -> None:
    network.delete_group(aws, orphan.id, timeout_s=max(0.0, release_by - time.monotonic()))


def _image_and_snapshots(aws: Aws, orphan: Orphan) -> None:
    """An image, and those of its snapshots that carry a tag of ours."""
    found = aws.ec2.describe_images(ImageIds=[orphan.id])["Images"]
    held = [
        each["Ebs"]["SnapshotId"]
        for image in found
        for each in image["BlockDeviceMappings"]
        if "SnapshotId" in each.get("Ebs", {})
    ]
    aws.ec2.deregister_image(ImageId=orphan.id)
    for snapshot in snapshots(aws, {"Name": "snapshot-id", "Values": held}) if held else []:
        aws.ec2.delete_snapshot(SnapshotId=snapshot.id)


def _harmless_if_gone(call: Callable[[Aws, Orphan], object]) -> Callable[[Aws, Orphan, float], None]:
    def remove(aws: Aws, orphan: Orphan, _: float) -> None:
        try:
            call(aws, orphan)
        except ClientError as error:
            if not code_of(error).endswith((".NotFound", "AMIID.Unavailable")):
                raise

    return remove


_WAYS: dict[str, Callable[[Aws, Orphan, float], None]] = {
    "schedule": lambda aws, orphan, _: killswitch.remove(aws, orphan.id),
    "volume": _harmless_if_gone(lambda aws, orphan: aws.ec2.delete_volume(VolumeId=orphan.id)),
    "address": _harmless_if_gone(lambda aws, orphan: aws.ec2.release_address(AllocationId=orphan.id)),
    "launch-template": lambda aws, orphan, _: template.delete_by_id(aws, orphan.id),
    "key-pair": _harmless_if_gone(lambda aws, orphan: aws.ec2.delete_key_pair(KeyName=orphan.id)),
    "security-group": _group,
    "security-group-rule": _harmless_if_gone(
        lambda aws, orphan: aws.ec2.revoke_security_group_ingress(
            GroupId=orphan.holder, SecurityGroupRuleIds=[orphan.id]
        )
    ),
    "image": _harmless_if_gone(_image_and_snapshots),
    "snapshot": _harmless_if_gone(lambda aws, orphan: aws.ec2.delete_snapshot(SnapshotId=orphan.id)),
}
"""How each kind is removed; machines go together, by `_end`."""
