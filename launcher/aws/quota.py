"""How many vCPUs the account may have."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws.faults import code_of

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
"""Amazon EC2's quotas on vCPUs that our machines fall under (Service Quotas console)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One quota: how many vCPUs at once."""

    code: str
    name: str
    value: float


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
