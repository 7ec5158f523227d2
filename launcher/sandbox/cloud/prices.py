"""What machines cost in the sandbox: plausible, the same for everybody, and moving slowly as the market does.

The on-demand figures lie close to those of us-east-1, Linux, shared tenancy, of late 2025; other
regions, and types that are not listed, are estimated from them. Spot prices are made up.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

_LISTED: dict[str, dict[str, float]] = {
    "g4dn": {
        "xlarge": 0.526,
        "2xlarge": 0.752,
        "4xlarge": 1.204,
        "8xlarge": 2.176,
        "12xlarge": 3.912,
        "16xlarge": 4.352,
        "metal": 7.824,
    },
    "g4ad": {"xlarge": 0.37853, "2xlarge": 0.54117, "4xlarge": 0.867, "8xlarge": 1.734, "16xlarge": 3.468},
    "g5": {
        "xlarge": 1.006,
        "2xlarge": 1.212,
        "4xlarge": 1.624,
        "8xlarge": 2.448,
        "12xlarge": 5.672,
        "16xlarge": 4.096,
        "24xlarge": 8.144,
        "48xlarge": 16.288,
    },
    "g5g": {
        "xlarge": 0.42,
        "2xlarge": 0.556,
        "4xlarge": 0.828,
        "8xlarge": 1.372,
        "16xlarge": 2.744,
        "metal": 2.744,
    },
    "g6": {
        "xlarge": 0.8048,
        "2xlarge": 0.9776,
        "4xlarge": 1.3232,
        "8xlarge": 2.0144,
        "12xlarge": 4.6016,
        "16xlarge": 3.3968,
        "24xlarge": 6.6752,
        "48xlarge": 13.3504,
    },
    "gr6": {"4xlarge": 1.5392, "8xlarge": 2.4464},
    "g6e": {
        "xlarge": 1.861,
        "2xlarge": 2.24208,
        "4xlarge": 3.00424,
        "8xlarge": 4.52856,
        "12xlarge": 10.49264,
        "16xlarge": 7.57719,
        "24xlarge": 15.06559,
        "48xlarge": 30.13118,
    },
    "p2": {"xlarge": 0.9, "8xlarge": 7.2, "16xlarge": 14.4},
    "p3": {"2xlarge": 3.06, "8xlarge": 12.24, "16xlarge": 24.48},
    "p3dn": {"24xlarge": 31.212},
    "p4d": {"24xlarge": 21.957642},
    "p4de": {"24xlarge": 27.44705},
    "p5": {"4xlarge": 6.88, "48xlarge": 55.04},
    "p5en": {"48xlarge": 63.296},
    "p6-b200": {"48xlarge": 113.9328},
    "inf2": {"xlarge": 0.7582, "8xlarge": 1.96786, "24xlarge": 6.49063, "48xlarge": 12.98127},
    "trn1": {"2xlarge": 1.34375, "32xlarge": 21.5},
}
_PER_XLARGE = {
    "c5": 0.17,
    "c5a": 0.154,
    "c6a": 0.153,
    "c6g": 0.136,
    "c6i": 0.17,
    "c7a": 0.20528,
    "c7g": 0.145,
    "c7i": 0.1785,
    "c8g": 0.15952,
    "m5": 0.192,
    "m5a": 0.172,
    "m6a": 0.1728,
    "m6g": 0.154,
    "m6i": 0.192,
    "m7a": 0.23184,
    "m7g": 0.1632,
    "m7i": 0.2016,
    "m8g": 0.17952,
    "r5": 0.252,
    "r6g": 0.2016,
    "r6i": 0.252,
    "r7a": 0.3043,
    "r7g": 0.2142,
    "r7i": 0.2646,
    "t2": 0.1856,
    "t3": 0.1664,
    "t3a": 0.1504,
    "t4g": 0.1344,
}
_SIZES = {"nano": 1 / 32, "micro": 1 / 16, "small": 1 / 8, "medium": 1 / 4, "large": 1 / 2, "xlarge": 1.0}
_REGIONS = {
    "us-east-1": 1.0,
    "us-east-2": 1.0,
    "us-west-2": 1.0,
    "us-west-1": 1.19,
    "ca-central-1": 1.1,
    "eu-west-1": 1.11,
    "eu-west-2": 1.16,
    "eu-west-3": 1.17,
    "eu-central-1": 1.19,
    "eu-north-1": 1.06,
    "ap-south-1": 1.06,
    "ap-northeast-1": 1.29,
    "ap-northeast-2": 1.23,
    "ap-southeast-1": 1.25,
    "ap-southeast-2": 1.25,
    "sa-east-1": 1.58,
}
_ELSEWHERE = 1.22
SLOT = timedelta(hours=6)
"""How often a pool's spot price moves."""
HISTORY = timedelta(days=3)


def on_demand_usd_per_hour(
    instance_type: str, region: str, *, vcpus: int, memory_gib: float, gpu_memory_gib: float = 0.0
) -> float:
    """The on-demand price; the machine's measures are the estimate's ground for types that are not listed."""
    family, _, size = instance_type.partition(".")
    base = _LISTED.get(family, {}).get(size)
    if base is None and family in _PER_XLARGE and _size_factor(size):
        base = _PER_XLARGE[family] * _size_factor(size)
    if base is None:
        base = 0.04 * vcpus + 0.005 * memory_gib + 0.02 * gpu_memory_gib
    return round(base * _REGIONS.get(region, _ELSEWHERE), 6)


def _size_factor(size: str) -> float:
    if size in _SIZES:
        return _SIZES[size]
    times = size.removesuffix("xlarge")
    return float(times) if times.isdigit() else 0.0


def spot_usd_per_hour(on_demand: float, instance_type: str, zone: str, at: datetime) -> float:
    """A pool's spot price at a moment: 33 to 62 % of on-demand, 3 % up or down every six hours."""
    share = 0.36 + 0.18 * _draw(instance_type, zone[:-1])
    local = 0.94 + 0.16 * _draw(instance_type, zone)
    drift = 0.97 + 0.06 * _draw(instance_type, zone, str(_slot(instance_type, zone, at)))
    return round(on_demand * share * local * drift, 6)


def spot_changes(instance_type: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """When the pool's price moved, newest first: within the span, and the last time before it."""
    shift = _shift(instance_type, zone)
    newest = _slot(instance_type, zone, end)
    moments = []
    for number in range(newest, newest - int(HISTORY / SLOT) - 1, -1):
        moments.append(datetime.fromtimestamp(number * SLOT.total_seconds() + shift, UTC))
        if moments[-1] <= start:
            break
    return moments


def _slot(instance_type: str, zone: str, at: datetime) -> int:
    return int((at.timestamp() - _shift(instance_type, zone)) // SLOT.total_seconds())


def _shift(instance_type: str, zone: str) -> int:
    return int(SLOT.total_seconds() * _draw("shift", instance_type, zone))


def _draw(*words: str) -> float:
    """A number in [0, 1) that the words alone decide."""
    return int.from_bytes(hashlib.sha256("/".join(words).encode()).digest()[:6]) / 2**48
