"""The machine images of the sandbox, which all boot the same host, and the public parameters that name them."""

from __future__ import annotations

import hashlib
import re
from typing import Any

AMAZON, CANONICAL, COMMUNITY = "898082745236", "099720109477", "442011374225"
BASE_DLAMI = "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04)"
ARM_DLAMI = "Deep Learning ARM64 Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04)"

_IMAGES: tuple[tuple[str, str, str, str, str, int], ...] = (
    # name, owner, description, root device, created, root size in GiB
    (f"{BASE_DLAMI} 20261002", AMAZON, "Nvidia driver, CUDA and Docker", "/dev/sda1", "2026-10-02", 60),
    (f"{BASE_DLAMI} 20261106", AMAZON, "Nvidia driver, CUDA and Docker", "/dev/sda1", "2026-11-06", 60),
    (f"{ARM_DLAMI} 20261106", AMAZON, "Nvidia driver, CUDA and Docker", "/dev/sda1", "2026-11-06", 60),
    (
        "Deep Learning OSS Nvidia Driver AMI GPU TensorFlow 2.18 (Ubuntu 22.04) 20261103",
        AMAZON,
        "Nvidia driver, CUDA and TensorFlow",
        "/dev/sda1",
        "2026-11-03",
        75,
    ),
    (
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20261104",
        CANONICAL,
        "Canonical, Ubuntu, 22.04 LTS, amd64 jammy image",
        "/dev/sda1",
        "2026-11-04",
        8,
    ),
    (
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261105",
        CANONICAL,
        "Canonical, Ubuntu, 24.04 LTS, amd64 noble image",
        "/dev/sda1",
        "2026-11-05",
        8,
    ),
    ("gpu_theano", COMMUNITY, "Theano and CUDA for the g2 and p2 types", "/dev/sda1", "2015-09-14", 12),
)


def image_id(name: str) -> str:
    """The AMI id of an image's name: the same in every region of every sandbox."""
    return "ami-0" + hashlib.sha256(name.encode()).hexdigest()[:16]


def _row(image: tuple[str, str, str, str, str, int]) -> dict[str, Any]:
    name, owner, description, root_device, created, _ = image
    return {
        "ami_id": image_id(name),
        "name": name,
        "description": description,
        "owner_id": owner,
        "public": True,
        "virtualization_type": "hvm",
        "architecture": "arm64" if "ARM64" in name else "x86_64",
        "state": "available",
        "platform": None,
        "image_type": "machine",
        "hypervisor": "xen",
        "root_device_name": root_device,
        "root_device_type": "ebs",
        "sriov": "simple",
        "image_location": f"{owner}/{name}",
        "creation_date": f"{created}T08:00:00.000Z",
    }


def catalogue() -> list[dict[str, Any]]:
    """All images, as moto reads them from MOTO_AMIS_PATH."""
    return [_row(image) for image in _IMAGES]


def root_size_gib(ami_id: str) -> int:
    """How large an image's root volume is."""
    sizes = {image_id(image[0]): image[5] for image in _IMAGES}
    return sizes.get(ami_id, 15)


def name_owners(backend: Any) -> None:
    """Give the alias `amazon` to the verified owners' images alone; moto gives it to all."""
    for image in backend.amis.values():
        image.owner_alias = "amazon" if image.owner_id in {AMAZON, CANONICAL} else None


def public_parameter(name: str) -> str | None:
    """The AMI id behind a public parameter of the Systems Manager, or `None` where it is none of ours.

    Source: AWS Deep Learning AMIs Developer Guide, "Finding the ID of a DLAMI"; Ubuntu on AWS, "Find Ubuntu images".
    """
    if re.fullmatch(r"/aws/service/deeplearning/ami/x86_64/[^/]+/latest/ami-id", name):
        wanted = "TensorFlow" if "tensorflow" in name else BASE_DLAMI
        return image_id(max(image[0] for image in _IMAGES if wanted in image[0]))
    if re.fullmatch(r"/aws/service/deeplearning/ami/arm64/base-[^/]+/latest/ami-id", name):
        return image_id(max(image[0] for image in _IMAGES if ARM_DLAMI in image[0]))
    if re.fullmatch(r"/aws/service/canonical/ubuntu/(\w+/)+[\d.]+/stable/[\w/-]+/ami-id", name):
        wanted = "noble" if "24.04" in name or "noble" in name else "jammy"
        return image_id(next(image[0] for image in _IMAGES if wanted in image[0]))
    return None
