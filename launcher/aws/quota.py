"""How many vCPUs the account may have, and which quota a machine falls under."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws.faults import code_of
from launcher.aws.faulttable import CONSOLE
from launcher.domain import Market

if TYPE_CHECKING:
    from launcher.aws.client import Aws

CODES: dict[str, str] = {
    "L-3819A6DF": "All G and VT Spot Instance Requests",
    "L-DB2E81BA": "Running On-Demand G and VT instances",
    "L-7212CCBC": "All P4, P3 and P2 Spot Instance Requests",
    "L-C4BD4855": "All P5 Spot Instance Requests",
    "L-417A185B": "Running On-Demand P instances",
    "L-34B43A08": "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
    "L-1216C47A": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
}
"""Amazon EC2's quotas on vCPUs that most machines fall under (Service Quotas console)."""

_STANDARD = ("L-34B43A08", "L-1216C47A")
_FAMILIES: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("g", "gr", "vt"), ("L-3819A6DF", "L-DB2E81BA")),
    "p": ("L-7212CCBC", "L-417A185B"),
    "f": ("L-88CF9481", "L-74FC7D96"),
    "inf": ("L-B5D1601B", "L-1945791B"),
    "trn": ("L-6B0D517C", "L-2C3B7624"),
    "x": ("L-E3A00192", "L-7295265B"),
    "dl": ("L-85EED4F7", "L-6E869C2A"),
}
"""The letters that a type's name begins with -> its spot and its on-demand quota; all others are standard ones."""
_LATER_P = ("L-C4BD4855", "L-417A185B")
_FIRST_LATER_P = 5
_NAME = re.compile(r"([a-z]+)(\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One quota: how many vCPUs at once."""

    code: str
    name: str
    value: float


def code_for(instance_type: str, market: Market) -> str:
    """The code of the quota that a machine counts against, in its region.

    Source: EC2 User Guide, "Amazon EC2 instance type quotas".
    """
    named = _NAME.match(instance_type)
    letters, generation = (named.group(1), named.group(2)) if named else ("", "")
    spot, on_demand = _FAMILIES.get(letters, _STANDARD)
    if letters == "p" and generation and int(generation) >= _FIRST_LATER_P:
        spot, on_demand = _LATER_P
    return spot if market is Market.SPOT else on_demand


def place_of(code: str, region: str) -> str:
    """Which quota has to be raised, and the page of the console where that is asked for."""
    name = f" ({CODES[code]})" if code in CODES else ""
    return f"quota {code}{name}, {CONSOLE.format(region=region, code=code)}"


def read(aws: Aws) -> list[Quota]:
    """The quotas of `CODES` in this region, in that order; those that the region does not have are left out."""
    with aws.errors("read the quotas"), ThreadPoolExecutor(len(CODES)) as pool:
        found = list(pool.map(lambda code: _one(aws, code), CODES))
    return [each for each in found if each is not None]


def _one(aws: Aws, code: str) -> Quota | None:
    try:
        answer = aws.quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
    except ClientError as error:
        if code_of(error) == "NoSuchResourceException":
            return None
        raise
    return Quota(code=code, name=answer.get("QuotaName") or CODES[code], value=answer.get("Value", 0.0))
