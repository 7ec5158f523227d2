"""Pools that a plan could name."""

from __future__ import annotations

from datetime import UTC, datetime

from launcher.domain import Market, Offer

TYPES = ("g4dn.xlarge", "g5.xlarge")


def offers_in(
    region: str, markets: tuple[Market, ...] = (Market.SPOT, Market.ON_DEMAND), zones: str = "ab"
) -> list[Offer]:
    return [
        Offer(
            instance_type=name,
            region=region,
            zone=f"{region}{zone}",
            market=market,
            price_usd_per_hour=0.2 if market is Market.SPOT else 0.6,
            on_demand_usd_per_hour=0.6,
            vcpus=4,
            memory_bytes=16 << 30,
            architecture="x86_64",
            gpu=None,
            priced_at=datetime.now(UTC),
            source="live",
        )
        for market in markets
        for name in TYPES
        for zone in zones
    ]
