"""Images made of machines and of images, as EC2 makes them: tagged to their snapshots, encrypted, one of each name."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from moto.ec2.exceptions import EC2ClientError

from launcher.errors import GpurunError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.sandbox.cloud.world import World
    from launcher.sandbox.machine import Host

log = logging.getLogger(__name__)

Tags = dict[str, dict[str, str]]
"""Kind of resource -> its tags."""


def tags_of(params: Mapping[str, Any]) -> Tags:
    """What a request's TagSpecifications say."""
    return {
        each["ResourceType"]: {tag["Key"]: tag.get("Value", "") for tag in each.get("Tags", [])}
        for each in params.get("TagSpecifications", [])
    }


def check_name(backend: Any, name: str) -> None:
    """Names are unique in a region, and an owner."""
    if any(image.name == name and image.owner_id == backend.account_id for image in backend.amis.values()):
        raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI")


def check_disk(world: World, instance: Any) -> None:
    """Refuse, in EC2's way, what no image can be made of."""
    try:
        world.machines.check_disk(instance)
    except GpurunError as error:
        raise EC2ClientError("UnsupportedOperation", f"{error.message} ({error.hint})") from None


def root_size_gib(instance: Any) -> int | None:
    """How large an instance's root volume is."""
    device = instance.block_device_mapping.get(instance.root_device_name)
    volume = instance.ec2_backend.volumes.get(device.volume_id) if device else None
    return int(volume.size) if volume else None


def begin(image: Any, tags: Tags, *, encrypted: bool, pending_s: float, key: str | None = None) -> None:
    """Tag a new image and its snapshot, and have both pending for a while."""
    image.root_device_type = "ebs"
    image.add_tags(tags.get("image", {}))
    snapshot = image.ebs_snapshot
    snapshot.add_tags(tags.get("snapshot", {}))
    snapshot.encrypted = encrypted
    snapshot.kms_key_id = key
    image.ready_at = time.monotonic() + pending_s
    image.saving = False
    if pending_s:
        image.state, snapshot.status = "pending", "pending"


def settle(backend: Any) -> None:
    """Images whose content is saved and whose time has come are there."""
    for image in list(backend.amis.values()):
        if image.state == "pending" and not image.saving and image.ready_at <= time.monotonic():
            image.state, image.ebs_snapshot.status = "available", "completed"


def save(world: World, image: Any, instance: Any, *, restart: bool) -> None:
    """Have what an instance's disk holds become what its image's snapshot holds; raises EC2's error where it cannot."""
    snapshot_id = image.ebs_snapshot.id

    def work(host: Host | None) -> None:
        if host is None:
            raise GpurunError(f"{instance.id} is gone", hint="aws ec2 describe-instances")
        world.machines.contents.save(host, snapshot_id)

    if world.hosts == "none":
        return
    _await_content(image)
    world.machines.save_disk(instance, lambda host: _saved(world, image, lambda: work(host)), restart=restart)


def save_copy(world: World, image: Any, source: Any) -> None:
    """Have an image hold what another one does."""
    content = world.machines.contents.hold(source.ebs_snapshot.id)
    if content is None:
        return

    def work() -> None:
        try:
            world.machines.contents.copy(content, image.ebs_snapshot.id)
        finally:
            world.machines.contents.release(content)

    _await_content(image)
    world.machines.in_background(lambda: _saved(world, image, work))


def _await_content(image: Any) -> None:
    image.saving = image.has_content = True
    image.state, image.ebs_snapshot.status = "pending", "pending"


def _saved(world: World, image: Any, work: Callable[[], None]) -> None:
    """Save an image's content, unless it is taken away meanwhile; one that cannot be saved has failed."""
    snapshot = image.ebs_snapshot
    try:
        work()
    except (GpurunError, OSError) as error:
        log.error("%s has failed: %s", image.id, error)  # noqa: TRY400 - it says all
        image.state, snapshot.status = "failed", "error"
    image.saving = False
    with world.lock:
        gone = snapshot.id not in image.ec2_backend.snapshots
    if gone:
        world.machines.contents.remove(snapshot.id)


def own_key(backend: Any) -> str:
    """The key that AWS manages for the account's disks, which nobody else can use."""
    from moto.kms.models import kms_backends  # noqa: PLC0415 - it takes long, and few need it

    if not backend.default_kms_key_id:
        backend._create_default_encryption_key()
    key = str(backend.default_kms_key_id)
    found = kms_backends[backend.account_id][backend.region_name].keys.get(key.rpartition("/")[2])
    if found is not None:
        found.key_manager = "AWS"
    return key


def root_encryption(instance: Any) -> tuple[bool, str | None]:
    """Whether an instance's root volume is encrypted, and with which key."""
    device = instance.block_device_mapping.get(instance.root_device_name)
    volume = instance.ec2_backend.volumes.get(device.volume_id) if device else None
    if volume is None or not volume.encrypted:
        return False, None
    own_key(instance.ec2_backend)
    return True, volume.kms_key_id
