"""What kinds of machine a region has, with their GPUs and the zones that offer them."""

from __future__ import annotations

import fnmatch
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from launcher.aws.offercache import OfferCache, through
from launcher.domain import Gpu

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from types_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeInfoTypeDef

    from launcher.aws.client import Aws
    from launcher.domain import Requirements

MAX_AGE = timedelta(days=7)
GPU_FAMILIES = ("g*", "p*")
"""EC2 names its accelerated families so; DescribeInstanceTypes has no filter for GPUs."""
CPU_FAMILIES = ("t3.*", "t3a.*", "m6i.*", "m7i.*", "m7a.*", "c6i.*", "c7i.*", "c7a.*", "r6i.*", "r7i.*")
"""x86 families that are sold everywhere: enough choice for a job that needs no accelerator, in one page."""
ARM_CPU_FAMILIES = ("t4g.*", "m6g.*", "m7g.*", "m8g.*", "c6g.*", "c7g.*", "c8g.*", "r6g.*", "r7g.*")
"""The same for arm64."""
FILTER_VALUES = 200
"""How many values one EC2 filter takes (EC2 API Reference)."""
ALIASES = {"a10": "a10g", "radeon-pro-v520": "v520", "a100-80gb": "a100", "a100-40gb": "a100", "h100-80gb": "h100"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineType:
    """An instance type as a region offers it."""

    name: str
    vcpus: int
    memory_bytes: int
    architectures: tuple[str, ...]
    gpu: Gpu | None
    manufacturer: str
    """Of the GPU: NVIDIA, AMD ..."""
    markets: tuple[str, ...]
    """`spot`, `on-demand`: how it is sold."""
    bare_metal: bool
    zones: tuple[str, ...]


def normal_kind(name: str) -> str:
    """A GPU's name as specs write it: `NVIDIA A10G` is `a10g`."""
    bare = name.strip().lower().replace("_", "-").replace(" ", "-")
    for maker in ("nvidia-", "tesla-", "amd-"):
        bare = bare.removeprefix(maker)
    return ALIASES.get(bare, bare)


def wants_gpu(requirements: Requirements) -> bool:
    """Whether only machines with GPUs will do."""
    return bool(requirements.gpu_kind or requirements.gpu_count or requirements.gpu_memory_bytes)


def patterns_for(requirements: Requirements) -> tuple[str, ...]:
    """Which instance types to ask EC2 for, as its filters take them."""
    if requirements.instance_types:
        return tuple(sorted(set(requirements.instance_types)))
    if wants_gpu(requirements):
        return GPU_FAMILIES
    return ARM_CPU_FAMILIES if requirements.architecture == "arm64" else CPU_FAMILIES


def named_by(name: str, patterns: Sequence[str]) -> bool:
    """Whether a type is one of those that a spec names, with EC2's wildcards."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def machine_types(aws: Aws, patterns: Sequence[str], cache: OfferCache) -> list[MachineType]:
    """The region's instance types that match one of the patterns (`*` and `?` as in EC2's filters)."""
    key = f"types/1/{aws.endpoint}/{aws.region}/{','.join(patterns)}"
    answer = through(cache, key, MAX_AGE, lambda: [asdict(found) for found in _fetch(aws, patterns)])
    return [_from_json(each) for each in answer.value]


def _fetch(aws: Aws, patterns: Sequence[str]) -> list[MachineType]:
    with aws.errors("look up instance types"):
        infos = list(_infos(aws, patterns))
        zones = _zones(aws, [info["InstanceType"] for info in infos])
    found = [_machine_type(info, zones.get(info["InstanceType"], ())) for info in infos]
    return [each for each in found if each.zones]


def _infos(aws: Aws, patterns: Sequence[str]) -> Iterator[InstanceTypeInfoTypeDef]:
    for values in _chunks(patterns):
        filters: list[FilterTypeDef] = [{"Name": "instance-type", "Values": values}]
        for page in aws.ec2.get_paginator("describe_instance_types").paginate(Filters=filters):
            yield from page["InstanceTypes"]


def _zones(aws: Aws, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    zones: dict[str, set[str]] = {}
    for values in _chunks(names):
        pages = aws.ec2.get_paginator("describe_instance_type_offerings").paginate(
            LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": values}]
        )
        for page in pages:
            for offering in page["InstanceTypeOfferings"]:
                zones.setdefault(offering["InstanceType"], set()).add(offering["Location"])
    return {name: tuple(sorted(where)) for name, where in zones.items()}


def _chunks(values: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(values), FILTER_VALUES):
        yield list(values[start : start + FILTER_VALUES])


def _machine_type(info: InstanceTypeInfoTypeDef, zones: tuple[str, ...]) -> MachineType:
    gpus = info.get("GpuInfo", {}).get("Gpus", [])
    first = gpus[0] if gpus else None
    return MachineType(
        name=info["InstanceType"],
        vcpus=info["VCpuInfo"].get("DefaultVCpus", 0),
        memory_bytes=info["MemoryInfo"].get("SizeInMiB", 0) << 20,
        architectures=tuple(info.get("ProcessorInfo", {}).get("SupportedArchitectures", ())),
        gpu=Gpu(
            kind=normal_kind(first.get("Name", "")),
            count=sum(each.get("Count", 0) for each in gpus),
            memory_bytes=first.get("MemoryInfo", {}).get("SizeInMiB", 0) << 20,
        )
        if first
        else None,
        manufacturer=first.get("Manufacturer", "") if first else "",
        markets=tuple(info.get("SupportedUsageClasses", ())),
        bare_metal=info.get("BareMetal", False),
        zones=zones,
    )


def _from_json(kept: dict[str, Any]) -> MachineType:
    gpu = kept["gpu"]
    return MachineType(
        **{
            **kept,
            "gpu": Gpu(**gpu) if gpu else None,
            **{name: tuple(kept[name]) for name in ("architectures", "markets", "zones")},
        }
    )
