"""Which capacity pool a launch names: its type, zone and market, also where only its template or subnet says so."""

from __future__ import annotations

from typing import Any

from moto.ec2.models import ec2_backends

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
    name = params.get("LaunchTemplate.LaunchTemplateName", "")
    template_id = params.get("LaunchTemplate.LaunchTemplateId") or backend.launch_template_name_to_ids.get(name)
    template = backend.launch_templates.get(template_id)
    return dict(template.latest_version().data) if template is not None else {}
