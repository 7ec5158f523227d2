"""The Price List API for EC2, in the shape in which AWS publishes it: JSON in strings in JSON.

Source: AWS Price List Query API Reference, GetProducts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from botocore.session import Session
from moto.ec2.models.instance_types import INSTANCE_TYPES

from launcher.sandbox.cloud import catalogue

_PAGE = 100
_PUBLISHED = "2026-11-14T00:00:00Z"
_ON_DEMAND, _HOURLY = "JRTCKXETXF", "6YS6EN2CT7"
_VARIANTS = (
    # operating system, tenancy, capacity status, factor on the price
    ("Linux", "Shared", "Used", 1.0),
    ("Linux", "Shared", "AllocatedCapacityReservation", 0.0),
    ("Linux", "Dedicated", "Used", 1.06),
    ("Windows", "Shared", "Used", 1.46),
)


def get_products(params: Mapping[str, Any]) -> dict[str, Any]:
    """GetProducts' answer."""
    if params.get("ServiceCode") != "AmazonEC2":
        return {"FormatVersion": "aws_v1", "PriceList": []}
    wanted = {each["Field"]: _values(each) for each in params.get("Filters", [])}
    found = [row for row in _rows(wanted) if _fits(row["product"]["attributes"], wanted)]
    start = int(params.get("NextToken") or 0)
    end = start + int(params.get("MaxResults") or _PAGE)
    answer: dict[str, Any] = {"FormatVersion": "aws_v1", "PriceList": [json.dumps(row) for row in found[start:end]]}
    if end < len(found):
        answer["NextToken"] = str(end)
    return answer


def _values(each: Mapping[str, str]) -> frozenset[str]:
    """What a filter admits, in lower case: TERM_MATCH and EQUALS one value, ANY_OF several."""
    values = each["Value"].split(",") if each["Type"] == "ANY_OF" else [each["Value"]]
    return frozenset(value.lower() for value in values)


def _fits(attributes: Mapping[str, str], wanted: Mapping[str, frozenset[str]]) -> bool:
    return all(str(attributes.get(name, "")).lower() in values for name, values in wanted.items())


def _rows(wanted: Mapping[str, frozenset[str]]) -> Iterator[dict[str, Any]]:
    """Every product of the regions and types that can match."""
    for region, location in region_names().items():
        if not _admits(wanted, "regionCode", region) or not _admits(wanted, "location", location):
            continue
        for kind in catalogue.offered(region):
            if _admits(wanted, "instanceType", kind):
                for variant in _VARIANTS:
                    yield _row(kind, region, location, *variant)


def _admits(wanted: Mapping[str, frozenset[str]], field: str, value: str) -> bool:
    return field not in wanted or value.lower() in wanted[field]


def _row(
    kind: str, region: str, location: str, system: str, tenancy: str, status: str, factor: float
) -> dict[str, Any]:
    sku = hashlib.sha256(f"{kind}/{region}/{system}/{tenancy}/{status}".encode()).hexdigest()[:16].upper()
    price = catalogue.on_demand_usd_per_hour(kind, region) * factor
    term = f"{sku}.{_ON_DEMAND}"
    dimension = {
        "unit": "Hrs",
        "endRange": "Inf",
        "beginRange": "0",
        "description": f"${price:.4f} per On Demand {system} {kind} Instance Hour",
        "appliesTo": [],
        "rateCode": f"{term}.{_HOURLY}",
        "pricePerUnit": {"USD": f"{price:.10f}"},
    }
    offer = {
        "priceDimensions": {f"{term}.{_HOURLY}": dimension},
        "sku": sku,
        "effectiveDate": _PUBLISHED,
        "offerTermCode": _ON_DEMAND,
        "termAttributes": {},
    }
    product = {
        "productFamily": "Compute Instance",
        "attributes": _attributes(kind, region, location, system, tenancy, status),
        "sku": sku,
    }
    return {
        "product": product,
        "serviceCode": "AmazonEC2",
        "terms": {"OnDemand": {term: offer}},
        "version": "20261114000000",
        "publicationDate": _PUBLISHED,
    }


def _attributes(kind: str, region: str, location: str, system: str, tenancy: str, status: str) -> dict[str, str]:
    facts = INSTANCE_TYPES[kind]
    attributes = {
        "servicecode": "AmazonEC2",
        "servicename": "Amazon Elastic Compute Cloud",
        "instanceType": kind,
        "regionCode": region,
        "location": location,
        "locationType": "AWS Region",
        "operatingSystem": system,
        "tenancy": tenancy,
        "capacitystatus": status,
        "preInstalledSw": "NA",
        "licenseModel": "No License required",
        "marketoption": "OnDemand",
        "operation": "RunInstances" if system == "Linux" else "RunInstances:0002",
        "currentGeneration": "Yes" if facts.get("CurrentGeneration") else "No",
        "vcpu": str(catalogue.vcpus(kind)),
        "memory": f"{facts['MemoryInfo']['SizeInMiB'] / 1024:g} GiB",
    }
    gpus = facts.get("GpuInfo", {}).get("Gpus", [])
    return attributes | ({"gpu": str(sum(each["Count"] for each in gpus))} if gpus else {})


@cache
def region_names() -> dict[str, str]:
    """Each commercial region's code and what the Price List calls it."""
    partitions = Session().get_data("endpoints")["partitions"]
    regions = next(each for each in partitions if each["partition"] == "aws")["regions"]
    return {code: facts["description"].replace("Europe", "EU") for code, facts in regions.items()}
