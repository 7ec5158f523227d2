"""CreateFleet of type `instant`: one pool after another, best first, until the capacity is there.

Source: Amazon EC2 API Reference, CreateFleet; EC2 User Guide, "Use allocation strategies".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from moto.core.exceptions import ServiceException
from moto.ec2.exceptions import EC2ClientError

from launcher.sandbox.cloud import catalogue, ec2_needs
from launcher.sandbox.cloud.errors import Refusal, refusal
from launcher.sandbox.cloud.launch import (
    Request,
    denial,
    launch,
    objection,
    place,
    refuse,
    template_version,
    with_template,
    zone_of,
)

if TYPE_CHECKING:
    from launcher.sandbox.cloud.ec2 import SandboxEc2


@dataclass(slots=True, kw_only=True)
class Fleet:
    """What stays of an instant fleet; the names are those that moto's DeleteFleets and DescribeFleets read."""

    id: str
    state: str = "active"
    type: str = "instant"
    target_capacity: int = 0
    fulfilled_capacity: float = 0.0
    spot_requests: list[dict[str, Any]] = field(default_factory=list)
    on_demand_instances: list[dict[str, Any]] = field(default_factory=list)

    @property
    def fleet_id(self) -> str:
        """As DescribeFleets shows it."""
        return self.id

    @property
    def fleet_state(self) -> str:
        """As DescribeFleets shows it."""
        return self.state

    def terminate_instances(self) -> None:
        """Begin to terminate all of them."""
        for entry in [*self.spot_requests, *self.on_demand_instances]:
            entry["instance"].terminate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One launch template with one override: where capacity is looked for."""

    spec: Request
    override: Request
    request: Request
    zone: str
    weight: float

    @property
    def instance_type(self) -> str:
        """Of its machines."""
        return str(self.request["InstanceType"])

    def shown(self) -> Request:
        """As CreateFleet's answer names it."""
        return {"LaunchTemplateSpecification": self.spec, "Overrides": self.override}


def create(ec2: SandboxEc2) -> dict[str, Any]:
    """CreateFleet's answer: what was launched, and which pools refused."""
    params = ec2.params
    if params.get("Type", "maintain") != "instant":
        raise EC2ClientError("Unsupported", "The sandbox makes fleets of type instant only.")
    ec2.error_on_dryrun()
    pools = [pool for config in params.get("LaunchTemplateConfigs", []) for pool in _pools(ec2, config)]
    if not pools:
        raise EC2ClientError("MissingParameter", "The request must contain the parameter LaunchTemplateConfigs")
    templates = [pool.spec["LaunchTemplateId"] for pool in pools]
    no = denial(ec2, ec2_needs.of_fleet(ec2.region, params, templates))
    if no is not None:
        raise refuse(no)
    fleet = Fleet(id=f"fleet-{uuid4()}")
    ec2.ec2_backend.fleets[fleet.id] = fleet
    instances: list[Request] = []
    errors: list[Request] = []
    for spot, units in _capacity(params["TargetCapacitySpecification"]):
        left = units
        for pool in _ranked(params, ec2.region, pools, spot=spot):
            if left <= 0:
                break
            count = int(-(-left // pool.weight))
            no, made = _try_pool(ec2, fleet, pool, count, spot=spot)
            if no is not None:
                errors.append(_error(pool, no, spot=spot))
            else:
                left -= count * pool.weight
                fleet.target_capacity += count
                instances.append(_success(pool, made, spot=spot))
    return {"FleetId": fleet.id, "Instances": instances, "Errors": errors}


def _capacity(spec: Request) -> list[tuple[bool, float]]:
    """(spot?, units) in the order in which EC2 fills them: on-demand first."""
    total = float(spec["TotalTargetCapacity"])
    on_demand, spot = float(spec.get("OnDemandTargetCapacity", 0)), float(spec.get("SpotTargetCapacity", 0))
    rest = max(0.0, total - on_demand - spot)
    if spec.get("DefaultTargetCapacityType", "on-demand") == "spot":
        spot += rest
    else:
        on_demand += rest
    return [(False, on_demand), (True, spot)]


def _pools(ec2: SandboxEc2, config: Request) -> list[Pool]:
    asked = config["LaunchTemplateSpecification"]
    version = template_version(ec2, asked)
    spec = {"LaunchTemplateId": version.template.id, "Version": str(version.number)}
    return [_pool(ec2, spec, override) for override in config.get("Overrides") or [{}]]


def _pool(ec2: SandboxEc2, spec: Request, override: Request) -> Pool:
    tags = [each for each in ec2.params.get("TagSpecifications", []) if each["ResourceType"] != "fleet"]
    request = with_template(ec2, {"LaunchTemplate": spec, "TagSpecifications": tags})
    for name in ("InstanceType", "SubnetId", "ImageId"):
        if override.get(name):
            request[name] = override[name]
    zone = override.get("AvailabilityZone") or override.get("Placement", {}).get("AvailabilityZone")
    if zone:
        request["Placement"] = {**request.get("Placement", {}), "AvailabilityZone": zone}
    if not request.get("InstanceType"):
        raise EC2ClientError("MissingParameter", "The request must contain the parameter InstanceType")
    placed = place(ec2, request)
    return Pool(
        spec=spec,
        override=override,
        request=placed,
        zone=zone_of(ec2, placed),
        weight=float(override.get("WeightedCapacity") or 1.0),
    )


def _ranked(params: Request, region: str, pools: list[Pool], *, spot: bool) -> list[Pool]:
    """Pools in the allocation strategy's order. The sandbox's capacity is boundless, so price decides among equals."""

    def price(pool: Pool) -> float:
        if not catalogue.known(pool.instance_type):
            return float("inf")
        if spot:
            return catalogue.spot_usd_per_hour(pool.instance_type, region, pool.zone) / pool.weight
        return catalogue.on_demand_usd_per_hour(pool.instance_type, region) / pool.weight

    def priority(pool: Pool) -> float:
        return float(pool.override.get("Priority", float("inf")))

    options = params.get("SpotOptions" if spot else "OnDemandOptions", {})
    if options.get("AllocationStrategy") in {"prioritized", "capacity-optimized-prioritized"}:
        return sorted(pools, key=priority)
    return sorted(pools, key=price)


def _try_pool(ec2: SandboxEc2, fleet: Fleet, pool: Pool, count: int, *, spot: bool) -> tuple[Refusal | None, list[Any]]:
    """Launch in one pool; why not, or the instances."""
    request = _bought(pool, spot=spot)
    no = _fault(ec2, pool, spot=spot)
    if no is None:
        try:
            needs = ec2_needs.of_launch(ec2.region, request, pool.spec["LaunchTemplateId"], by="CreateFleet")
            no = denial(ec2, needs) or objection(ec2, request, count)
            if no is None:
                token = f"{fleet.id}-{len(fleet.spot_requests) + len(fleet.on_demand_instances)}"
                made = list(launch(ec2, request, count, token).instances)
        except ServiceException as error:
            no = Refusal(code=error.code, status=400, message=error.message)
    if no is not None:
        return no, []
    kept = fleet.spot_requests if spot else fleet.on_demand_instances
    kept.extend({"id": instance.id, "instance": instance} for instance in made)
    fleet.fulfilled_capacity += count * pool.weight
    return None, made


def _bought(pool: Pool, *, spot: bool) -> Request:
    """The pool's request for one market."""
    rest = {key: value for key, value in pool.request.items() if key != "InstanceMarketOptions"}
    if not spot:
        return rest
    options = dict(pool.request.get("InstanceMarketOptions", {}).get("SpotOptions", {}))
    if pool.override.get("MaxPrice"):
        options["MaxPrice"] = pool.override["MaxPrice"]
    return {**rest, "InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": options}}


def _fault(ec2: SandboxEc2, pool: Pool, *, spot: bool) -> Refusal | None:
    market = "spot" if spot else "on-demand"
    names = {"InstanceType": pool.instance_type, "AvailabilityZone": pool.zone, "Market": market}
    effect = ec2.world.faults.for_pool(ec2.region, names)
    if effect is None or not effect.error:
        return None
    return refusal(
        effect.error,
        status=effect.status,
        message=effect.message,
        action="RunInstances",
        instance_type=pool.instance_type,
        zone=pool.zone,
        max_price=pool.override.get("MaxPrice", ""),
        spot_price=f"{catalogue.spot_usd_per_hour(pool.instance_type, ec2.region, pool.zone):.6f}",
        limit=0,
    )


def _error(pool: Pool, no: Refusal, *, spot: bool) -> Request:
    return {
        "LaunchTemplateAndOverrides": pool.shown(),
        "Lifecycle": "spot" if spot else "on-demand",
        "ErrorCode": no.code,
        "ErrorMessage": no.message,
    }


def _success(pool: Pool, made: list[Any], *, spot: bool) -> Request:
    return {
        "LaunchTemplateAndOverrides": pool.shown(),
        "Lifecycle": "spot" if spot else "on-demand",
        "InstanceIds": [instance.id for instance in made],
        "InstanceType": pool.instance_type,
    }
