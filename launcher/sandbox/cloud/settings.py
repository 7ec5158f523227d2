"""The sandbox's knobs, all of which can be turned while it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from launcher.sandbox.cloud import catalogue

OPT_IN_REGIONS = frozenset(
    {
        "af-south-1",
        "ap-east-1",
        "ap-east-2",
        "ap-south-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "ap-southeast-5",
        "ap-southeast-7",
        "ca-west-1",
        "eu-central-2",
        "eu-south-1",
        "eu-south-2",
        "il-central-1",
        "me-central-1",
        "me-south-1",
        "mx-central-1",
    }
)
"""Regions that an account must enable first (AWS General Reference, "AWS service endpoints")."""


def _default_quotas() -> dict[str, float]:
    """vCPUs, as an account that has been used for a while has them."""
    codes = {*catalogue.ON_DEMAND_QUOTAS.values(), *catalogue.SPOT_QUOTAS.values()}
    return dict.fromkeys(sorted(codes), 1152.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Times of an instance's life in seconds, quotas in vCPUs by code, and the opt-in regions enabled."""

    pending_s: float = 0.0
    boot_delay_s: float = 0.0
    boot_delays_s: tuple[float, ...] = ()
    """Of the next instances to be launched, one each, before `boot_delay_s` holds again."""
    disk_bytes: int = 0
    """Of hosts that boot from now on: a disk of their own in memory, which can be filled; 0: this computer's."""
    clock_ahead_s: float = 0.0
    """Of hosts that boot from now on: by how much their clock is wrong."""
    image_pending_s: float = 0.0
    """How long an image that is made or copied takes."""
    group_deleting_s: float = 1.0
    """How long a schedule group is being deleted, while its schedules go on."""
    shutting_down_s: float = 0.0
    terminated_visible_s: float = 3600.0
    quotas: dict[str, float] = field(default_factory=_default_quotas)
    enabled_regions: tuple[str, ...] = ()

    def changed(self, data: Mapping[str, Any]) -> Settings:
        """With some knobs turned; quotas are merged. Raises `ValueError` for what is no setting."""
        names = {each.name for each in fields(self)}
        unknown = set(data) - names
        if unknown:
            raise ValueError(f"unknown setting {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}")
        values: dict[str, Any] = {name: _number(name, data[name]) for name in data if name.endswith(("_s", "_bytes"))}
        if "quotas" in data:
            values["quotas"] = {**self.quotas, **{code: float(v) for code, v in data["quotas"].items()}}
        if "enabled_regions" in data:
            values["enabled_regions"] = tuple(data["enabled_regions"])
        return replace(self, **values)

    def for_next(self) -> tuple[Settings, Settings]:
        """The next instance's own, and those that hold after it."""
        if not self.boot_delays_s:
            return self, self
        first, *rest = self.boot_delays_s
        return replace(self, boot_delay_s=first), replace(self, boot_delays_s=tuple(rest))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _number(name: str, value: Any) -> float | int | tuple[float, ...]:
    if name == "boot_delays_s":
        return tuple(map(_seconds, value))
    if name.endswith("_bytes"):
        if int(value) < 0:
            raise ValueError(f"{name}: {value} is negative")
        return int(value)
    return _seconds(value) if name != "clock_ahead_s" else _finite(value)


def _seconds(value: Any) -> float:
    if _finite(value) < 0:
        raise ValueError(f"{value} seconds are negative")
    return float(value)


def _finite(value: Any) -> float:
    if not math.isfinite(float(value)):
        raise ValueError(f"{value} is no number of seconds")
    return float(value)
