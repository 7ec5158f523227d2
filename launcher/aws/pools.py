"""Offers of machine types: each zone and market with its price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.aws import fitting
from launcher.domain import Market, Offer, SpotPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from launcher.aws.catalog import MachineType
    from launcher.aws.prices import Prices
    from launcher.domain import Requirements


def priced(
    types: Sequence[MachineType],
    region: str,
    requirements: Requirements,
    spot: Prices | None,
    on_demand: Prices,
) -> list[Offer]:
    """Every pool of the types in a region that the requirements allow and that has a price."""
    return [
        _offer(each, (region, zone, market), requirements, prices, on_demand)
        for each in types
        for zone in each.zones
        if not requirements.zones or zone in requirements.zones
        for market, prices in _markets(each, requirements, spot, on_demand)
        if _price(each, zone, market, prices) is not None
    ]


def _markets(
    each: MachineType, requirements: Requirements, spot: Prices | None, on_demand: Prices
) -> Iterator[tuple[Market, Prices]]:
    """Where the type is sold, as far as the requirements allow it."""
    if spot is not None and Market.SPOT in each.markets:
        yield Market.SPOT, spot
    if requirements.spot is not SpotPolicy.SPOT and Market.ON_DEMAND in each.markets:
        yield Market.ON_DEMAND, on_demand


def _price(each: MachineType, zone: str, market: Market, prices: Prices) -> float | None:
    return prices.usd_per_hour.get(f"{each.name}/{zone}" if market is Market.SPOT else each.name)


def _offer(
    each: MachineType, pool: tuple[str, str, Market], requirements: Requirements, prices: Prices, on_demand: Prices
) -> Offer:
    region, zone, market = pool
    return Offer(
        instance_type=each.name,
        region=region,
        zone=zone,
        market=market,
        price_usd_per_hour=_price(each, zone, market, prices) or 0.0,
        on_demand_usd_per_hour=on_demand.usd_per_hour.get(each.name),
        vcpus=each.vcpus,
        memory_bytes=each.memory_bytes,
        architecture=fitting.architecture_of(each, requirements),
        gpu=each.gpu,
        priced_at=prices.priced_at,
        source=prices.source,
    )
