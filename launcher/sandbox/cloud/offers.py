"""The long Describe answers about types and prices, from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES

from launcher.sandbox.cloud import catalogue, prices, xml
from launcher.sandbox.cloud.wire import Answer

_TYPES_PAGE, _LONG_PAGE = 100, 1000
_PRODUCTS = ("Linux/UNIX", "Linux/UNIX (Amazon VPC)")
Filters = Mapping[str, Sequence[str]]


def instance_types(region: str, names: Sequence[str], filters: Filters, params: Mapping[str, Any]) -> Answer:
    """DescribeInstanceTypes."""
    available = catalogue.offered(region)
    unknown = sorted(set(names) - set(available))
    if unknown:
        message = f"The following supplied instance types do not exist: [{', '.join(unknown)}]"
        raise EC2ClientError("InvalidInstanceType", message)
    try:
        found = [name for name in names or available if catalogue.matches(name, filters)]
    except KeyError as error:
        raise EC2ClientError("InvalidParameterValue", f"The filter '{error.args[0]}' is invalid") from error
    page, token = _page(found, params, _TYPES_PAGE)
    return xml.listing("DescribeInstanceTypes", "InstanceTypes", [_type_xml(name) for name in page], token)


def prepare(region: str) -> None:
    """Write every type of a region once, a few milliseconds' work in a hundred."""
    for name in catalogue.offered(region):
        _type_xml(name)


@cache
def _type_xml(name: str) -> str:
    return xml.written(xml.item_shape("DescribeInstanceTypes", "InstanceTypes"), "item", INSTANCE_TYPES[name])


def offerings(region: str, location: str, filters: Filters, params: Mapping[str, Any]) -> Answer:
    """DescribeInstanceTypeOfferings."""
    rows = INSTANCE_TYPE_OFFERINGS.get(location, {}).get(region, ())
    fields = {"instance-type": "InstanceType", "location": "Location"}
    _only_known(filters, fields)
    found = [
        row
        for row in rows
        if all(catalogue.any_matches([row[fields[name]]], values) for name, values in filters.items())
    ]
    page, token = _page(found, params, _LONG_PAGE)
    return _listing("DescribeInstanceTypeOfferings", "InstanceTypeOfferings", page, token)


def spot_prices(region: str, filters: Filters, params: Mapping[str, Any]) -> Answer:
    """DescribeSpotPriceHistory: newest first; with StartTime now, the current price of each pool."""
    end = _moment(params.get("EndTime"), datetime.now(UTC))
    start = _moment(params.get("StartTime"), end - prices.HISTORY)
    asked = dict(filters)
    for name, value in (
        ("instance-type", params.get("InstanceTypes")),
        ("availability-zone", params.get("AvailabilityZone")),
        ("product-description", params.get("ProductDescriptions")),
    ):
        if value:
            asked[name] = [value] if isinstance(value, str) else value
    _only_known(asked, ("instance-type", "availability-zone", "product-description", "spot-price", "timestamp"))
    products = [each for each in _PRODUCTS[:1] if _passes(asked, "product-description", each)]
    products = products or [each for each in _PRODUCTS[1:] if _passes(asked, "product-description", each)]
    rows = [
        {
            "AvailabilityZone": zone,
            "InstanceType": kind,
            "ProductDescription": product,
            "SpotPrice": f"{catalogue.spot_usd_per_hour(kind, region, zone, moment):.6f}",
            "Timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        }
        for kind, zone in _pools(region, asked)
        for product in products
        for moment in prices.spot_changes(kind, zone, start, end)
    ]
    rows.sort(key=lambda row: row["Timestamp"], reverse=True)
    page, token = _page(rows, params, _LONG_PAGE)
    return _listing("DescribeSpotPriceHistory", "SpotPriceHistory", page, token)


def _pools(region: str, asked: Filters) -> list[tuple[str, str]]:
    return [
        (kind, zone)
        for kind, zones in sorted(catalogue.zones_of(region).items())
        if catalogue.known(kind) and _passes(asked, "instance-type", kind) and catalogue.sold_as_spot(kind)
        for zone in zones
        if _passes(asked, "availability-zone", zone)
    ]


def _passes(asked: Filters, name: str, value: str) -> bool:
    return name not in asked or catalogue.any_matches([value], asked[name])


def _only_known(filters: Filters, names: Iterable[str]) -> None:
    unknown = sorted(set(filters) - set(names))
    if unknown:
        raise EC2ClientError("InvalidParameterValue", f"The filter '{unknown[0]}' is invalid")


def _moment(value: Any, default: datetime) -> datetime:
    if value is None:
        return default
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _page(rows: Sequence[Any], params: Mapping[str, Any], size: int) -> tuple[Sequence[Any], str | None]:
    """A page and the token of the next; the token is the offset."""
    start = int(params.get("NextToken") or 0)
    end = start + int(params.get("MaxResults") or size)
    return rows[start:end], str(end) if end < len(rows) else None


def _listing(operation: str, member: str, rows: Sequence[Mapping[str, Any]], token: str | None) -> Answer:
    shape = xml.item_shape(operation, member)
    return xml.listing(operation, member, [xml.written(shape, "item", row) for row in rows], token)
