"""Images made of machines and of images, as EC2 makes them: tagged to their snapshots, encrypted, one of each name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from moto.ec2.exceptions import EC2ClientError

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    if pending_s:
        image.state, snapshot.status = "pending", "pending"
        image.ready_at = time.monotonic() + pending_s


def settle(backend: Any) -> None:
    """Images whose time has come are there."""
    for image in list(backend.amis.values()):
        if image.state == "pending" and getattr(image, "ready_at", 0.0) <= time.monotonic():
            image.state, image.ebs_snapshot.status = "available", "completed"


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
