"""What machines cost by the hour: spot by zone, on-demand by region."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING, Any

from launcher.aws.faults import FOREIGN
from launcher.aws.offercache import Answer, OfferCache, kept, through

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from types_boto3_pricing.type_defs import FilterTypeDef

    from launcher.aws.client import Aws

SPOT_MAX_AGE = timedelta(minutes=5)
ON_DEMAND_MAX_AGE = timedelta(days=1)
REFUSAL_MAX_AGE = timedelta(hours=1)
"""How long a Price List API that did not answer is left alone."""
PRICE_LIST_TYPES = 50
"""How many types one question to the Price List API names."""
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
        return snapshot(aws.region)
    try:
        answer: Answer = through(cache, key, ON_DEMAND_MAX_AGE, lambda: _on_demand(aws, types))
    except FOREIGN as error:
        # No permission, no such service at this endpoint, no way to us-east-1: a dated price is better than none.
        cache.put(refused, json.dumps(str(error)))
        return snapshot(aws.region)
    return Prices(usd_per_hour=answer.value, priced_at=answer.fetched_at, source=answer.source)


def snapshot(region: str) -> Prices:
    """The published prices that this package brings, of the day that it names; none for most regions."""
    text = resources.files("launcher.aws").joinpath("snapshot.json").read_text("utf-8")
    kept_prices = json.loads(text)
    return Prices(
        usd_per_hour=kept_prices["usd_per_hour"].get(region, {}),
        priced_at=datetime.fromisoformat(kept_prices["date"]).replace(tzinfo=UTC),
        source="snapshot",
    )


def _spot(aws: Aws, types: Sequence[str]) -> dict[str, float]:
    latest: dict[str, tuple[datetime, float]] = {}
    with aws.errors("read the spot price history"):
        pages = aws.ec2.get_paginator("describe_spot_price_history").paginate(
            InstanceTypes=list(types),  # type: ignore[arg-type] # the stub lists yesterday's types
            ProductDescriptions=["Linux/UNIX", "Linux/UNIX (Amazon VPC)"],
            StartTime=datetime.now(UTC),  # the price in force now has its own row, however old
        )
        for page in pages:
            for row in page["SpotPriceHistory"]:
                pool = f"{row['InstanceType']}/{row['AvailabilityZone']}"
                seen = (row["Timestamp"], float(row["SpotPrice"]))
                latest[pool] = max(latest.get(pool, seen), seen)
    return {pool: price for pool, (_, price) in latest.items()}


def _on_demand(aws: Aws, types: Sequence[str]) -> dict[str, float]:
    prices: dict[str, float] = {}
    for start in range(0, len(types), PRICE_LIST_TYPES):
        wanted = types[start : start + PRICE_LIST_TYPES]
        fixed = {**PRODUCT, "regionCode": aws.region}
        filters: list[FilterTypeDef] = [
            {"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in fixed.items()
        ]
        filters.append({"Type": "ANY_OF", "Field": "instanceType", "Value": ",".join(wanted)})
        for page in aws.pricing.get_paginator("get_products").paginate(ServiceCode="AmazonEC2", Filters=filters):
            for product in page["PriceList"]:
                prices.update(_priced(json.loads(product), fixed, set(wanted)))
    return prices


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
