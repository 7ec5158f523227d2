"""Service quotas for EC2: listing them, and refusing what lies above.

Source: Amazon EC2 User Guide, "Amazon EC2 instance type quotas" (quotas count vCPUs).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.sandbox.cloud import catalogue
from launcher.sandbox.cloud.errors import Refusal, refusal
from launcher.sandbox.cloud.settings import Settings

_NAMES = {
    "L-1216C47A": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    "L-DB2E81BA": "Running On-Demand G and VT instances",
    "L-417A185B": "Running On-Demand P instances",
    "L-74FC7D96": "Running On-Demand F instances",
    "L-1945791B": "Running On-Demand Inf instances",
    "L-2C3B7624": "Running On-Demand Trn instances",
    "L-7295265B": "Running On-Demand X instances",
    "L-6E869C2A": "Running On-Demand DL instances",
    "L-34B43A08": "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
    "L-3819A6DF": "All G and VT Spot Instance Requests",
    "L-7212CCBC": "All P4, P3 and P2 Spot Instance Requests",
    "L-C4BD4855": "All P5 Spot Instance Requests",
    "L-88CF9481": "All F Spot Instance Requests",
    "L-B5D1601B": "All Inf Spot Instance Requests",
    "L-6B0D517C": "All Trn Spot Instance Requests",
    "L-E3A00192": "All X Spot Instance Requests",
    "L-85EED4F7": "All DL Spot Instance Requests",
}


class UnknownQuota(Exception):
    """No such quota; what the service says of it is in the arguments."""


def answer(settings: Settings, region: str, action: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """What Service Quotas answers for EC2; `None`: not a call that the sandbox has its own answer to."""
    if params.get("ServiceCode") != "ec2":
        return None
    if action in {"ListServiceQuotas", "ListAWSDefaultServiceQuotas"}:
        return {"Quotas": [_quota(code, settings.quotas[code], region) for code in sorted(settings.quotas)]}
    if action in {"GetServiceQuota", "GetAWSDefaultServiceQuota"}:
        code = str(params.get("QuotaCode", ""))
        if code not in settings.quotas:
            raise UnknownQuota("The request failed because the specified service quota does not exist.")
        return {"Quota": _quota(code, settings.quotas[code], region)}
    return None


def _quota(code: str, value: float, region: str) -> dict[str, Any]:
    return {
        "ServiceCode": "ec2",
        "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
        "QuotaArn": f"arn:aws:servicequotas:{region}:123456789012:ec2/{code}",
        "QuotaCode": code,
        "QuotaName": _NAMES.get(code, code),
        "Value": value,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


def exceeded(settings: Settings, backend: Any, instance_type: str, count: int, *, spot: bool) -> Refusal | None:
    """Why so many more of a type may not run in a region; `None`: they may."""
    code = catalogue.quota_code(instance_type, spot=spot)
    limit = settings.quotas.get(code, 0.0)
    used = sum(
        catalogue.vcpus(instance.instance_type)
        for instance in backend.all_instances()
        if instance.state in {"pending", "running", "stopping", "shutting-down"}
        and (instance.lifecycle == "spot") is spot
        and catalogue.quota_code(instance.instance_type, spot=spot) == code
    )
    if used + count * catalogue.vcpus(instance_type) <= limit:
        return None
    return refusal("MaxSpotInstanceCountExceeded") if spot else refusal("VcpuLimitExceeded", limit=int(limit))
