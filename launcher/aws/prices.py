"""What machines cost by the hour: spot by zone, on-demand by region."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from launcher.aws import snapshots
from launcher.aws.faults import FOREIGN
from launcher.aws.offercache import ANY_AGE, Answer, OfferCache, kept, through
from launcher.errors import GpurunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from types_boto3_pricing.type_defs import FilterTypeDef

    from launcher.aws.client import Aws

SPOT_MAX_AGE = timedelta(minutes=5)
ON_DEMAND_MAX_AGE = timedelta(days=1)
REFUSAL_MAX_AGE = timedelta(hours=1)
"""How long a Price List API that did not answer is left alone."""
FILTER_CHARACTERS = 1000
"""Of a filter's value, of the 1024 that the Price List API takes (its API Reference, "Filter")."""
HISTORY = timedelta(days=3)
"""How far back the spot price history is looked at: one page of it for a dozen types in five zones."""
VOLATILITY_MAX_AGE = timedelta(hours=12)
PRODUCT: Mapping[str, str] = {
    "operatingSystem": "Linux",
    "preInstalledSw": "NA",
    "tenancy": "Shared",
    "capacitystatus": "Used",
}
"""What tells the plain on-demand price from its thirty relatives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices in US dollars an hour, and where they come from."""

    usd_per_hour: Mapping[str, float]
    """By instance type, or `type/zone` for spot."""
    priced_at: datetime
    source: str
    """`live`, `cache` or `snapshot`."""


def spot(aws: Aws, types: Sequence[str], cache: OfferCache) -> Prices:
    """The latest Linux spot price of each type and zone (key `type/zone`), from the price history."""
    key = f"spot/1/{aws.endpoint}/{aws.region}/{_digest(types)}"
    answer = through(cache, key, SPOT_MAX_AGE, lambda: _spot(aws, types))
    return Prices(usd_per_hour=answer.value, priced_at=answer.fetched_at, source=answer.source)


def on_demand(aws: Aws, types: Sequence[str], cache: OfferCache) -> Prices:
    """The on-demand price of each type, from the Price List API, else from the snapshot in this package."""
    key = f"on-demand/1/{aws.endpoint}/{aws.region}/{_digest(types)}"
    refused = f"{key}/refused"
    if kept(cache, refused, REFUSAL_MAX_AGE) is not None:
        return _without_price_list(aws.region, key, cache)
    try:
        answer: Answer = through(cache, key, ON_DEMAND_MAX_AGE, lambda: _on_demand(aws, types))
    except FOREIGN as error:
        # No permission, no such service at this endpoint, no way to us-east-1: a dated price is better than none.
        cache.put(refused, json.dumps(str(error)))
        return _without_price_list(aws.region, key, cache)
    except GpurunError:
        return snapshot(aws.region)
    return Prices(usd_per_hour=answer.value, priced_at=answer.fetched_at, source=answer.source)


def _without_price_list(region: str, key: str, cache: OfferCache) -> Prices:
    old = kept(cache, key, ANY_AGE)
    if old is None:
        return snapshot(region)
    return Prices(usd_per_hour=old.value, priced_at=old.fetched_at, source=old.source)


def volatility(aws: Aws, types: Sequence[str], cache: OfferCache) -> dict[str, float]:
    """How much the spot price of each pool (`type/zone`) has moved of late, a share per square root of a day.

    Realised volatility: the root of the summed squares of the logarithmic changes, over the days looked at. What
    cannot be asked is left out.
    """
    key = f"volatility/1/{aws.endpoint}/{aws.region}/"
    found = kept(cache, key, ANY_AGE)
    known: dict[str, Any] = found.value if found is not None else {}
    oldest = (datetime.now(UTC) - VOLATILITY_MAX_AGE).timestamp()
    missing = [name for name in types if name not in known or known[name]["at"] < oldest]
    if missing:
        try:
            fetched = _history(aws, missing)
        except GpurunError:
            fetched = {}  # a courtesy: the plan does without, or with older figures
        known = known | {name: {"at": datetime.now(UTC).timestamp(), "pools": pools} for name, pools in fetched.items()}
        if fetched:
            cache.put(key, json.dumps(known, separators=(",", ":")))
    return {pool: value for name in types for pool, value in known.get(name, {"pools": {}})["pools"].items()}


def _history(aws: Aws, types: Sequence[str]) -> dict[str, dict[str, float]]:
    """Each type's pools with their volatility."""
    rows: dict[str, dict[str, list[tuple[datetime, float]]]] = {name: {} for name in types}
    for name, zone, at, price in _spot_rows(aws, types, datetime.now(UTC) - HISTORY):
        rows.setdefault(name, {}).setdefault(f"{name}/{zone}", []).append((at, price))
    return {
        name: {pool: realised_volatility(series, HISTORY) for pool, series in pools.items()}
        for name, pools in rows.items()
    }


def realised_volatility(series: Sequence[tuple[datetime, float]], span: timedelta) -> float:
    """Of prices at their times, within a span: a share per square root of a day."""
    ordered = [price for _, price in sorted(series) if price > 0]
    squares = [math.log(after / before) ** 2 for before, after in pairwise(ordered)]
    return math.sqrt(math.fsum(squares) / (span / timedelta(days=1)))


def snapshot(region: str) -> Prices:
    """The published prices that this package brings, of the day that it names; none for most regions."""
    figures = snapshots.figures()
    return Prices(
        usd_per_hour=figures["usd_per_hour"].get(region, {}),
        priced_at=datetime.fromisoformat(figures["date"]).replace(tzinfo=UTC),
        source="snapshot",
    )


def _spot(aws: Aws, types: Sequence[str]) -> dict[str, float]:
    latest: dict[str, tuple[datetime, float]] = {}
    # The price in force now has its own row, however old.
    for name, zone, at, price in _spot_rows(aws, types, datetime.now(UTC)):
        pool, seen = f"{name}/{zone}", (at, price)
        latest[pool] = max(latest.get(pool, seen), seen)
    return {pool: price for pool, (_, price) in latest.items()}


def _spot_rows(aws: Aws, types: Sequence[str], since: datetime) -> Iterator[tuple[str, str, datetime, float]]:
    """Type, zone, time and price, from the price in force at `since` on."""
    with aws.errors("read the spot price history"):
        pages = aws.ec2.get_paginator("describe_spot_price_history").paginate(
            InstanceTypes=list(types),  # type: ignore[arg-type] # the stub lists yesterday's types
            ProductDescriptions=["Linux/UNIX", "Linux/UNIX (Amazon VPC)"],
            StartTime=since,
        )
        for page in pages:
            for row in page["SpotPriceHistory"]:
                yield row["InstanceType"], row["AvailabilityZone"], row["Timestamp"], float(row["SpotPrice"])


def _on_demand(aws: Aws, types: Sequence[str]) -> dict[str, float]:
    prices: dict[str, float] = {}
    for wanted in _chunks(types):
        fixed = {**PRODUCT, "regionCode": aws.region}
        filters: list[FilterTypeDef] = [
            {"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in fixed.items()
        ]
        filters.append({"Type": "ANY_OF", "Field": "instanceType", "Value": ",".join(wanted)})
        for page in aws.pricing.get_paginator("get_products").paginate(ServiceCode="AmazonEC2", Filters=filters):
            for product in page["PriceList"]:
                prices.update(_priced(json.loads(product), fixed, set(wanted)))
    return prices


def _chunks(types: Sequence[str]) -> Iterator[list[str]]:
    """As few questions as the length of a filter's value allows."""
    chunk: list[str] = []
    for name in types:
        if chunk and len(",".join([*chunk, name])) > FILTER_CHARACTERS:
            yield chunk
            chunk = []
        chunk.append(name)
    if chunk:
        yield chunk


def _priced(product: Any, fixed: Mapping[str, str], wanted: set[str]) -> Iterator[tuple[str, float]]:
    attributes = product.get("product", {}).get("attributes", {})
    name = attributes.get("instanceType")
    if name not in wanted or any(attributes.get(field, value) != value for field, value in fixed.items()):
        return
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term.get("priceDimensions", {}).values():
            price = float(dimension.get("pricePerUnit", {}).get("USD", "0"))
            if price > 0 and dimension.get("unit", "Hrs") == "Hrs":
                yield name, price


def _digest(types: Sequence[str]) -> str:
    return hashlib.sha256(",".join(sorted(types)).encode()).hexdigest()[:16]
