"""Addresses and gateways, as a default VPC has them."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable
from typing import Any

PUBLIC = ipaddress.ip_network("198.18.0.0/15")
"""RFC 2544's benchmark range: routed nowhere, so that a stray connection reaches nobody."""


def public_addresses() -> Callable[[], str]:
    """A function that gives another public address at each call."""
    numbers = itertools.cycle(range(256, PUBLIC.num_addresses - 256))
    return lambda: str(PUBLIC[next(numbers)])


def open_default_vpc(backend: Any) -> None:
    """Give the default VPC the internet gateway and the route that AWS makes with it."""
    vpc = backend.get_default_vpc()
    gateway = backend.create_internet_gateway()
    backend.attach_internet_gateway(gateway.id, vpc.id)
    tables = backend.describe_route_tables(filters={"vpc-id": [vpc.id], "association.main": ["true"]})
    backend.create_route(tables[0].id, "0.0.0.0/0", gateway_id=gateway.id)
