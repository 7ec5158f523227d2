"""The JSON services that moto lacks, or lacks the parts of that a launch reads: prices, quotas, public parameters."""

from __future__ import annotations

from typing import Any

from launcher.sandbox.cloud import images, pricing, quotas
from launcher.sandbox.cloud.settings import Settings
from launcher.sandbox.cloud.wire import Answer, Call, error_answer, json_answer

_DATE = 1794000000.0
"""When the public parameters last changed, in seconds since 1970."""


def answer(settings: Settings, call: Call) -> Answer | None:
    """The sandbox's own answer; `None`: moto's will do."""
    if call.service == "pricing":
        return _pricing(call)
    if call.service == "servicequotas":
        return _quotas(settings, call)
    if call.service == "ssm":
        return _parameters(call)
    return None


def _pricing(call: Call) -> Answer:
    if call.action != "GetProducts":
        return error_answer("pricing", "InvalidParameterException", 400, f"The sandbox has no {call.action}.")
    return json_answer(pricing.get_products(call.params))


def _quotas(settings: Settings, call: Call) -> Answer | None:
    try:
        found = quotas.answer(settings, call.region, call.action, call.params)
    except quotas.UnknownQuota as error:
        return error_answer("servicequotas", "NoSuchResourceException", 400, str(error))
    return json_answer(found) if found is not None else None


def _parameters(call: Call) -> Answer | None:
    if call.action == "GetParameter":
        found = _parameter(call.region, str(call.params.get("Name", "")))
        return json_answer({"Parameter": found}) if found else None
    if call.action == "GetParameters":
        names = [str(name) for name in call.params.get("Names", [])]
        rows = [row for row in (_parameter(call.region, name) for name in names) if row]
        known = {row["Name"] for row in rows}
        missing = [name for name in names if name not in known]
        return json_answer({"Parameters": rows, "InvalidParameters": missing}) if rows else None
    return None


def _parameter(region: str, name: str) -> dict[str, Any] | None:
    value = images.public_parameter(name)
    if value is None:
        return None
    return {
        "Name": name,
        "Type": "String",
        "Value": value,
        "Version": 42,
        "LastModifiedDate": _DATE,
        "ARN": f"arn:aws:ssm:{region}::parameter{name}",
        "DataType": "aws:ec2:image",
    }
