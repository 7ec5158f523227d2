"""Which machine image a selector means."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws.faults import code_of
from launcher.aws.offercache import through
from launcher.domain import Image
from launcher.errors import BrokenRequest, SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from types_boto3_ec2.type_defs import FilterTypeDef, ImageTypeDef

    from launcher.aws.client import Aws
    from launcher.aws.offercache import OfferCache

DEFAULT_IMAGE = "ssm:/aws/service/deeplearning/ami/{architecture}/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
"""The base Deep Learning AMI: NVIDIA driver and CUDA on Ubuntu 24.04, user `ubuntu`.

Source: AWS Deep Learning AMIs Developer Guide, "Finding the ID of a DLAMI". AWS patches none with TensorFlow any
more (DLAMI support policy): `pip install tensorflow[and-cuda]` brings it.
"""

KEPT = timedelta(hours=1)
"""How long the search for a machine takes an answer for true."""
FORMS = "ami-ID, name:PATTERN, tag:KEY=VALUE or ssm:/PARAMETER"


def resolve(aws: Aws, selector: str, *, architecture: str = "x86_64") -> Image:
    """The image that `selector` (one of `FORMS`; empty: the Deep Learning AMI) means in this region.

    Raises `SpecError` for another form, `BrokenRequest` for an image that is not there, not ready or not for
    `architecture`.
    """
    selector = selector or DEFAULT_IMAGE.format(architecture=architecture)
    if selector.startswith("ami-"):
        found = _by_id(aws, selector)
    elif selector.startswith("name:"):
        found = _by_name(aws, selector.removeprefix("name:"), architecture)
    elif selector.startswith("tag:") and "=" in selector:
        found = _by_tag(aws, selector.removeprefix("tag:"), architecture)
    elif selector.startswith("ssm:/"):
        found = _by_id(aws, _parameter(aws, selector.removeprefix("ssm:")))
    else:
        raise SpecError(f"image {selector!r}: expected {FORMS}", hint="leave it empty for the Deep Learning AMI")
    return _usable(found, selector, aws.region, architecture)


def remembered(
    aws: Aws, selector: str, cache: OfferCache, max_age: timedelta, *, architecture: str = "x86_64"
) -> Image:
    """As `resolve`, but an answer not older than `max_age` is not asked for again."""
    key = f"image/1/{aws.endpoint}/{aws.profile or ''}/{aws.region}/{architecture}/{selector}"
    found = through(cache, key, max_age, lambda: asdict(resolve(aws, selector, architecture=architecture)))
    return Image(**found.value)


def _by_id(aws: Aws, image_id: str) -> ImageTypeDef:
    with aws.errors(f"look up image {image_id}"):
        found = aws.ec2.describe_images(ImageIds=[image_id])["Images"]
    if not found:
        raise BrokenRequest(
            f"image {image_id} does not exist in {aws.region}",
            hint="AMI ids belong to one region: give the right one, or name:PATTERN",
            code="InvalidAMIID.NotFound",
        )
    return found[0]


def _by_name(aws: Aws, pattern: str, architecture: str) -> ImageTypeDef:
    # Anybody may publish under any name: strangers count only where neither we nor Amazon have a match.
    wanted: list[FilterTypeDef] = [{"Name": "name", "Values": [pattern]}]
    found = _newest(aws, wanted, architecture, ("self", "amazon")) or _newest(aws, wanted, architecture, ())
    if found is None:
        raise BrokenRequest(
            f"no image in {aws.region} is named {pattern!r} (for {architecture})",
            hint=f"aws ec2 describe-images --region {aws.region} --filters 'Name=name,Values={pattern}'",
        )
    return found


def _by_tag(aws: Aws, tag: str, architecture: str) -> ImageTypeDef:
    key, _, value = tag.partition("=")
    found = _newest(aws, [{"Name": f"tag:{key}", "Values": [value]}], architecture, ("self",))
    if found is None:
        raise BrokenRequest(
            f"no image of yours in {aws.region} has the tag {tag} (for {architecture})",
            hint="gpurun ami bake, or another `resources.image`",
        )
    return found


def _newest(aws: Aws, wanted: list[FilterTypeDef], architecture: str, owners: Sequence[str]) -> ImageTypeDef | None:
    filters: list[FilterTypeDef] = [*wanted, {"Name": "architecture", "Values": [architecture]}]
    with aws.errors("look for images"):
        pages = aws.ec2.get_paginator("describe_images").paginate(Filters=filters, Owners=list(owners))
        found = [image for page in pages for image in page["Images"] if image.get("State") == "available"]
    return max(found, key=lambda image: image.get("CreationDate", ""), default=None)


def _parameter(aws: Aws, name: str) -> str:
    with aws.errors(f"read the public parameter {name}"):
        try:
            return aws.ssm.get_parameter(Name=name)["Parameter"]["Value"]
        except ClientError as error:
            if code_of(error) not in {"ParameterNotFound", "ParameterVersionNotFound", "ValidationException"}:
                raise
            raise BrokenRequest(
                f"{aws.region} has no SSM parameter {name}",
                hint="give an image: resources.image: ami-..., name:PATTERN or ssm:/PARAMETER",
                code=code_of(error),
            ) from error


def _usable(found: ImageTypeDef, selector: str, region: str, architecture: str) -> Image:
    image = _image(found, region)
    if found.get("State", "available") != "available":
        raise BrokenRequest(
            f"image {image.image_id} is {found['State']}, not available",
            hint=f"aws ec2 wait image-available --image-ids {image.image_id} --region {region}",
        )
    if image.architecture != architecture:
        raise BrokenRequest(
            f"image {image.image_id} ({selector}) is for {image.architecture}, the machine is {architecture}",
            hint="give an image for that architecture, or other instance_types",
        )
    return image


def _image(found: ImageTypeDef, region: str) -> Image:
    root_device = found.get("RootDeviceName") or "/dev/sda1"
    sizes = {
        mapping.get("DeviceName"): mapping["Ebs"].get("VolumeSize", 0)
        for mapping in found.get("BlockDeviceMappings", [])
        if "Ebs" in mapping
    }
    return Image(
        image_id=found["ImageId"],
        name=_name(found),
        region=region,
        architecture=found.get("Architecture", "x86_64"),
        root_device=root_device,
        root_size_gib=sizes.get(root_device, 0),
        created_at=found.get("CreationDate", ""),
    )


def _name(found: ImageTypeDef) -> str:
    """The image's name, with its owner where that is neither Amazon nor known to be ours."""
    name = found.get("Name") or found["ImageId"]
    stranger = found.get("Public", False) and found.get("ImageOwnerAlias") not in {"amazon", "self"}
    return f"{name} (community image of account {found.get('OwnerId', 'unknown')})" if stranger else name
