"""Which capacity pool a launch names: its type, zone and market, also where only its template or subnet says so."""

from __future__ import annotations

from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends

from launcher.sandbox.cloud import templates
from launcher.sandbox.cloud.environment import ACCOUNT
from launcher.sandbox.cloud.wire import Call
from launcher.sandbox.cloud.world import World


def named_pool(world: World, call: Call) -> dict[str, Any]:
    """The call's parameters with InstanceType, AvailabilityZone and Market filled in for a RunInstances call."""
    if call.service != "ec2" or call.action != "RunInstances":
        return call.params
    with world.lock:
        backend = ec2_backends[ACCOUNT][call.region] if call.region in world.opened else None
        data = _template_data(backend, call.params)
        nic = call.params.get("NetworkInterface.1.SubnetId")
        subnet = call.params.get("SubnetId") or nic
        zone = call.params.get("Placement.AvailabilityZone") or _zone(backend, subnet) or f"{call.region}a"
    market = call.params.get("InstanceMarketOptions.MarketType") or data.get("InstanceMarketOptions", {}).get(
        "MarketType", "on-demand"
    )
    kind = call.params.get("InstanceType") or data.get("InstanceType", "")
    return {**call.params, "InstanceType": kind, "AvailabilityZone": zone, "Market": market}


def _zone(backend: Any, subnet_id: str | None) -> str:
    subnets = list(backend.subnets.values()) if backend is not None else []
    return next(
        (subnet.availability_zone for by_id in subnets for subnet in by_id.values() if subnet.id == subnet_id), ""
    )


def _template_data(backend: Any, params: dict[str, Any]) -> dict[str, Any]:
    if backend is None:
        return {}
    spec = {name.removeprefix("LaunchTemplate."): value for name, value in params.items() if "LaunchTemplate." in name}
    try:
        template = templates.find(backend, spec)
        return dict(templates.version(template, spec.get("Version", "$Default")).data)
    except EC2ClientError:
        return {}  # the launch itself says so
