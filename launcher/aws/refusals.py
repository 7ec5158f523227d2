"""Pools that refused a moment ago, so that nobody asks them again at once."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.domain import Market


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One instance type in one zone, in one market: what has capacity or has none."""

    market: Market
    instance_type: str
    zone: str
