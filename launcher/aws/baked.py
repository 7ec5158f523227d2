"""Machine images that gpurun made: found, made ready, lent, copied and removed, by their tags alone.

An image is born with the deadline of its making on it, and without a name: until `publish` gives it one, `gc` may take
it. Source: EC2 API Reference, CreateImage, CopyImage, DeregisterImage, ModifyImageAttribute; EC2 User Guide, "Share an
AMI" and "Use encryption with EBS-backed AMIs".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws import instances
from launcher.aws import tags as tagging
from launcher.aws.faults import code_of
from launcher.aws.polling import backoff, until
from launcher.aws.tags import TAG_BAKE, TAG_IMAGE, TAG_SCHEDULE, TAG_USES
from launcher.domain import TAG_DEADLINE, TAG_RUN
from launcher.errors import ProvisionError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from types_boto3_ec2.type_defs import FilterTypeDef, ImageTypeDef, LaunchPermissionTypeDef

    from launcher.aws.client import Aws

NO_DEADLINE = "none"
"""What the tag says of an image that nobody may take away."""
SNAPSHOT_FREE_S = 60.0
"""By when a snapshot whose image is gone can be deleted."""
DAMAGED = frozenset({"failed", "error", "invalid", "deregistered"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BakedImage:
    """A machine image that gpurun made."""

    image_id: str
    name: str
    """As `tag:gpurun:image=NAME` finds it; empty: it never became ready."""
    ec2_name: str
    region: str
    state: str
    architecture: str
    size_gib: int
    created_at: str
    snapshot_ids: tuple[str, ...]
    tags: dict[str, str]

    @property
    def ready(self) -> bool:
        """Whether a launch by its name may take it."""
        return bool(self.name) and self.state == "available"


def create(aws: Aws, instance_id: str, ec2_name: str, tags: Mapping[str, str]) -> str:
    """Make an image of a machine, which EC2 restarts for it so that its disk is whole; gives its id at once.

    `ec2_name` is its idempotency token: an image of that name that carries the same bake is the one that an earlier
    call, whose answer was lost, has made. Raises `ProvisionError`.
    """
    with aws.errors("make the machine image"):
        try:
            return aws.ec2.create_image(
                InstanceId=instance_id,
                Name=ec2_name,
                NoReboot=False,
                TagSpecifications=[
                    {"ResourceType": "image", "Tags": tagging.to_list(tags)},
                    {"ResourceType": "snapshot", "Tags": tagging.to_list(tags)},
                ],
            )["ImageId"]
        except ClientError as error:
            if code_of(error) != "InvalidAMIName.Duplicate":
                raise
            made = [each for each in of_bake(aws, tags[TAG_BAKE]) if each.ec2_name == ec2_name]
            if not made:
                raise
            return made[0].image_id


def find(aws: Aws, name: str | None = None) -> list[BakedImage]:
    """All of this region, or those of one name, newest first."""
    wanted: list[FilterTypeDef] = [{"Name": "tag-key", "Values": [TAG_BAKE]}]
    if name is not None:
        wanted.append({"Name": f"tag:{TAG_IMAGE}", "Values": [name]})
    return _described(aws, wanted)


def of_bake(aws: Aws, bake: str) -> list[BakedImage]:
    """What one bake made in this region, whatever its state."""
    return _described(aws, [{"Name": f"tag:{TAG_BAKE}", "Values": [bake]}])


def get(aws: Aws, which: str) -> BakedImage:
    """The image of an id, or the newest that is ready of a name; raises `SpecError` where there is none of ours."""
    if which.startswith("ami-"):
        found = _described(aws, [{"Name": "image-id", "Values": [which]}])
        found = [each for each in found if TAG_BAKE in each.tags]
    else:
        found = [each for each in find(aws, which) if each.ready]
    if not found:
        known = sorted({each.name for each in find(aws) if each.name})
        there = f"; there are {', '.join(known)}" if known else ""
        raise SpecError(f"no image of ours in {aws.region} is {which}{there}", hint="gpurun ami list, gpurun ami bake")
    return found[0]


def surplus(aws: Aws, name: str, keep: int) -> list[BakedImage]:
    """What is older than the `keep` newest images of a name that are ready; one being made is none of them."""
    return [each for each in find(aws, name) if each.ready][keep:]


def users(aws: Aws, images: Sequence[BakedImage]) -> dict[str, str]:
    """Of those that something still needs: the image's id, and the run or the schedule that does.

    A run whose machine is taken back goes on with another one from the same image, and a schedule that is deployed
    launches from its own each time.
    """
    found = {}
    for image in images:
        machines = instances.by_filter(aws, [tagging.of_any_run(), {"Name": "image-id", "Values": [image.image_id]}])
        runs = [each.tags.get(TAG_RUN, "") for each in machines if not each.gone]
        if runs:
            found[image.image_id] = f"run {runs[0]}"
            continue
        wanted: list[FilterTypeDef] = [{"Name": f"tag:{TAG_USES}", "Values": [image.image_id]}]
        with aws.errors("look for schedules that use an image"):
            templates = aws.ec2.describe_launch_templates(Filters=wanted)["LaunchTemplates"]
        schedules = [tagging.to_dict(each.get("Tags")).get(TAG_SCHEDULE, "") for each in templates]
        if schedules:
            found[image.image_id] = f"schedule {schedules[0]}"
    return found


def wait_available(
    aws: Aws, image_id: str, timeout_s: float, *, meanwhile: Callable[[], object] = lambda: None
) -> BakedImage:
    """Wait until an image is there, calling `meanwhile` after each look in vain.

    Raises `ProvisionError` where it fails, or is not there after `timeout_s` seconds.
    """
    why = ""

    def there() -> BakedImage | None:
        nonlocal why
        found = _described(aws, [{"Name": "image-id", "Values": [image_id]}])
        if found and found[0].state in DAMAGED:
            raise ProvisionError(f"EC2 could not make image {image_id}: {found[0].state}", hint="gpurun ami bake again")
        if found and found[0].state == "available":
            return found[0]
        why = found[0].state if found else "unknown to EC2"
        meanwhile()
        return None

    made = until(there, timeout_s, backoff(first_s=0.2, cap_s=15.0, factor=2.0))
    if made is None:
        raise ProvisionError(f"image {image_id} is {why} after {timeout_s:.0f} s", hint="gpurun gc removes it")
    return made


def check_encrypted(aws: Aws, image: BakedImage) -> None:
    """Raise `ProvisionError` unless all of its snapshots are encrypted."""
    with aws.errors("look at the image's snapshots"):
        found = aws.ec2.describe_snapshots(SnapshotIds=list(image.snapshot_ids))["Snapshots"]
    bare = [each["SnapshotId"] for each in found if not each.get("Encrypted")]
    if bare or not found:
        raise ProvisionError(
            f"image {image.image_id} is not encrypted: {', '.join(bare) or 'it has no snapshot'}",
            hint="aws ec2 enable-ebs-encryption-by-default, then gpurun ami bake again",
        )


def publish(aws: Aws, image: BakedImage, name: str) -> BakedImage:
    """Give it its name and take its deadline away, in one call: from now on it is launched from, and stays."""
    tags = {TAG_IMAGE: name, TAG_DEADLINE: NO_DEADLINE}
    with aws.errors("name the image"):
        aws.ec2.create_tags(Resources=[image.image_id, *image.snapshot_ids], Tags=tagging.to_list(tags))
    return get(aws, image.image_id)


def remove(aws: Aws, image: BakedImage) -> None:
    """Deregister it and delete its snapshots; what is gone already is no error."""
    with aws.errors(f"remove image {image.image_id}"):
        _harmless(lambda: aws.ec2.deregister_image(ImageId=image.image_id))
        for snapshot in image.snapshot_ids:
            if not until(partial(_deleted, aws, snapshot), SNAPSHOT_FREE_S):
                raise ProvisionError(f"snapshot {snapshot} is still in use", hint="gpurun gc --yes, in a minute")


def share(aws: Aws, image: BakedImage, account_id: str, *, end: bool = False) -> None:
    """Let another account launch from it, or no longer; raises `SpecError` where its key could never be shared."""
    if not end:
        _check_key(aws, image, account_id)
    change: LaunchPermissionTypeDef = {"UserId": account_id}
    with aws.errors("share the image"):
        aws.ec2.modify_image_attribute(
            ImageId=image.image_id, LaunchPermission={"Remove": [change]} if end else {"Add": [change]}
        )


def shared_with(aws: Aws, image: BakedImage) -> tuple[str, ...]:
    """The accounts that may launch from it."""
    with aws.errors("look at who may use the image"):
        answer = aws.ec2.describe_image_attribute(ImageId=image.image_id, Attribute="launchPermission")
    return tuple(sorted(each["UserId"] for each in answer.get("LaunchPermissions", []) if "UserId" in each))


def copy(
    aws: Aws,
    image: BakedImage,
    region: str,
    *,
    ec2_name: str,
    deadline: str,
    owner: Mapping[str, str],
    key: str = "",
) -> str:
    """Begin a copy to a region, encrypted there, without its name until it is published; gives the copy's id.

    `deadline` is how long the copying may take, `owner` the tag of whoever copies, `key` a KMS key of that region.
    """
    kept = {k: v for k, v in image.tags.items() if k.startswith("gpurun:") or k == "Name"}
    for gone in (TAG_IMAGE, "gpurun:run"):  # the copy has no name yet, and no run speaks for it
        kept.pop(gone, None)
    tags = tagging.to_list({**kept, **owner, TAG_DEADLINE: deadline})
    there, with_key = aws.at(region), {"KmsKeyId": key} if key else {}
    with there.errors(f"copy {image.image_id} from {image.region}"):
        return there.ec2.copy_image(
            SourceImageId=image.image_id,
            SourceRegion=image.region,
            Name=ec2_name,
            Encrypted=True,
            TagSpecifications=[
                {"ResourceType": "image", "Tags": tags},
                {"ResourceType": "snapshot", "Tags": tags},
            ],
            **with_key,  # type: ignore[arg-type] # left out where there is none
        )["ImageId"]


def _check_key(aws: Aws, image: BakedImage, account_id: str) -> None:
    """The key that AWS manages for an account opens nothing in another one."""
    with aws.errors("look at the image's key"):
        found = aws.ec2.describe_snapshots(SnapshotIds=list(image.snapshot_ids))["Snapshots"]
        keys = sorted({each["KmsKeyId"] for each in found if each.get("KmsKeyId")})
        own = [key for key in keys if aws.kms.describe_key(KeyId=key)["KeyMetadata"].get("KeyManager") == "AWS"]
    if own:
        raise SpecError(
            f"{image.image_id} is encrypted with the key that AWS keeps for this account alone: "
            f"{account_id} could never launch from it",
            hint=f"gpurun ami copy {image.image_id} {image.region} --kms-key YOUR_KEY, and share the copy and the key",
        )


def _described(aws: Aws, filters: list[FilterTypeDef]) -> list[BakedImage]:
    with aws.errors("look for machine images"):
        pages = aws.ec2.get_paginator("describe_images").paginate(Filters=filters, Owners=["self"])
        found = [_baked(each, aws.region) for page in pages for each in page["Images"]]
    return sorted(found, key=lambda each: (each.created_at, each.ec2_name), reverse=True)


def _baked(found: ImageTypeDef, region: str) -> BakedImage:
    disks = [each["Ebs"] for each in found.get("BlockDeviceMappings", []) if "Ebs" in each]
    tags = tagging.to_dict(found.get("Tags"))
    return BakedImage(
        image_id=found["ImageId"],
        name=tags.get(TAG_IMAGE, ""),
        ec2_name=found.get("Name", ""),
        region=region,
        state=found.get("State", "available"),
        architecture=found.get("Architecture", ""),
        size_gib=sum(each.get("VolumeSize", 0) for each in disks),
        created_at=found.get("CreationDate", ""),
        snapshot_ids=tuple(each["SnapshotId"] for each in disks if "SnapshotId" in each),
        tags=tags,
    )


def _harmless(call: Callable[[], object]) -> None:
    try:
        call()
    except ClientError as error:
        if not code_of(error).endswith((".NotFound", "AMIID.Unavailable")):
            raise


def _deleted(aws: Aws, snapshot_id: str) -> bool | None:
    """Whether the snapshot is gone; `None` while its image still holds it."""
    try:
        aws.ec2.delete_snapshot(SnapshotId=snapshot_id)
    except ClientError as error:
        if code_of(error) == "InvalidSnapshot.InUse":
            return None
        if not code_of(error).endswith(".NotFound"):
            raise
    return True
