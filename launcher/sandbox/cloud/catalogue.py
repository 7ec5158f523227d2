"""The machine types of each region: what they are, where they are offered, and what they cost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES, InstanceType

from launcher.sandbox.cloud import prices

ON_DEMAND_QUOTAS = {
    "standard": "L-1216C47A",
    "g": "L-DB2E81BA",
    "p": "L-417A185B",
    "f": "L-74FC7D96",
    "inf": "L-1945791B",
    "trn": "L-2C3B7624",
    "x": "L-7295265B",
    "dl": "L-6E869C2A",
}
SPOT_QUOTAS = {
    "standard": "L-34B43A08",
    "g": "L-3819A6DF",
    "p": "L-7212CCBC",
    "p5": "L-C4BD4855",
    "f": "L-88CF9481",
    "inf": "L-B5D1601B",
    "trn": "L-6B0D517C",
    "x": "L-E3A00192",
    "dl": "L-85EED4F7",
}


def known(instance_type: str) -> bool:
    """Whether EC2 has such a type at all."""
    return instance_type in INSTANCE_TYPES


@cache
def offered(region: str) -> tuple[str, ...]:
    """The types of a region, sorted."""
    rows = INSTANCE_TYPE_OFFERINGS["region"].get(region, ())
    return tuple(sorted({row["InstanceType"] for row in rows} & set(INSTANCE_TYPES)))


@cache
def zones_of(region: str) -> Mapping[str, tuple[str, ...]]:
    """Each type's zones in a region."""
    zones: dict[str, list[str]] = {}
    for row in INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, ()):
        zones.setdefault(row["InstanceType"], []).append(row["Location"])
    return {name: tuple(sorted(found)) for name, found in zones.items()}


def vcpus(instance_type: str) -> int:
    """What its quota counts."""
    return int(INSTANCE_TYPES[instance_type]["VCpuInfo"]["DefaultVCpus"])


def quota_code(instance_type: str, *, spot: bool) -> str:
    """The Service Quotas code of the bucket that the type belongs to."""
    letters = re.match(r"[a-z]+", instance_type)
    family = letters[0] if letters else ""
    bucket = {"gr": "g", "vt": "g", "u": "standard"}.get(family, family)
    if spot and instance_type.startswith("p5"):
        bucket = "p5"
    table = SPOT_QUOTAS if spot else ON_DEMAND_QUOTAS
    return table.get(bucket, table["standard"])


def on_demand_usd_per_hour(instance_type: str, region: str) -> float:
    """The on-demand price of a known type."""
    facts = INSTANCE_TYPES[instance_type]
    return prices.on_demand_usd_per_hour(
        instance_type,
        region,
        vcpus=vcpus(instance_type),
        memory_gib=facts["MemoryInfo"]["SizeInMiB"] / 1024,
        gpu_memory_gib=facts.get("GpuInfo", {}).get("TotalGpuMemoryInMiB", 0) / 1024,
    )


def spot_usd_per_hour(instance_type: str, region: str, zone: str, at: datetime | None = None) -> float:
    """The spot price of a known type in a zone."""
    on_demand = on_demand_usd_per_hour(instance_type, region)
    return prices.spot_usd_per_hour(on_demand, instance_type, zone, at or datetime.now(UTC))


def sold_as_spot(instance_type: str) -> bool:
    """Whether the type has a spot market."""
    return "spot" in INSTANCE_TYPES[instance_type]["SupportedUsageClasses"]


def matches(instance_type: str, filters: Mapping[str, Iterable[str]]) -> bool:
    """Whether a type passes DescribeInstanceTypes' filters; raises `KeyError` for a filter EC2 does not have."""
    facts = INSTANCE_TYPES[instance_type]
    paths = InstanceType._filter_attributes
    return all(any_matches(_at(facts, paths[name]), patterns) for name, patterns in filters.items())


def any_matches(values: Iterable[object], patterns: Iterable[str]) -> bool:
    """Whether a value fits one of the patterns, with EC2's wildcards `*` and `?`."""
    names, wild = _sorted_out(tuple(patterns))
    texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    return any(text in names or any(fnmatchcase(text, pattern) for pattern in wild) for text in texts)


@lru_cache(maxsize=64)
def _sorted_out(patterns: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Patterns without wildcards, which need no more than a look, and those with, as `fnmatch` takes them."""
    wild = [pattern for pattern in patterns if "*" in pattern or "?" in pattern]
    return frozenset(patterns) - frozenset(wild), tuple(pattern.replace("[", "[[]") for pattern in wild)


def _at(value: Any, path: list[str]) -> list[object]:
    """All that lies at a path, through lists."""
    if isinstance(value, list):
        return [found for item in value for found in _at(item, path)]
    if not path:
        return [value]
    return _at(value[path[0]], path[1:]) if isinstance(value, dict) and path[0] in value else []
