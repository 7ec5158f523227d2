"""The launch: one CreateFleet over every pool of a region, and what became of it.

`instant` fleets with the `price-capacity-optimized` strategy are what AWS recommends for spot (EC2 User
Guide, "Allocation strategies for EC2 Fleet"). Spot and on-demand never share a call, so that each refusal can
be told apart.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws import tags as tagging
from launcher.aws.faults import LOST_REPLY, Fault, code_of, fault_of
from launcher.aws.faulttable import PASSING
from launcher.aws.instances import console_output, describe, find, terminate, wait_running, wait_terminated
from launcher.aws.polling import backoff
from launcher.aws.template import FleetRequest, create_template, delete_template
from launcher.domain import Instance, Market, Offer
from launcher.errors import (
    BrokenRequest,
    CredentialsError,
    NoCapacity,
    NotPermitted,
    PriceTooHigh,
    ProvisionError,
    QuotaExceeded,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from types_boto3_ec2.type_defs import (
        CreateFleetErrorTypeDef,
        CreateFleetInstanceTypeDef,
        CreateFleetRequestTypeDef,
        CreateFleetResultTypeDef,
        FleetLaunchTemplateOverridesRequestTypeDef,
    )

    from launcher.aws.client import Aws

__all__ = [
    "FleetRequest",
    "console_output",
    "delete_template",
    "describe",
    "find",
    "launch",
    "terminate",
    "wait_running",
    "wait_terminated",
]

MAX_OVERRIDES = 300
"""Of one fleet (EC2 User Guide, "EC2 Fleet quotas")."""
ATTEMPTS = 4
REFUSALS = (NoCapacity, QuotaExceeded, PriceTooHigh, NotPermitted)
"""After these AWS has surely made nothing."""
GRAVITY: tuple[type[ProvisionError], ...] = (
    NotPermitted,
    QuotaExceeded,
    BrokenRequest,
    PriceTooHigh,
    NoCapacity,
)
"""Where pools refuse for several reasons, the first of these that occurs is the one to act on."""


def launch(aws: Aws, request: FleetRequest) -> Instance:
    """Make one machine in the best pool that has one: spot pools first, then on-demand ones.

    Returns it as `pending`. Raises the `ProvisionError` that fits, with a line for each distinct refusal.
    """
    markets = _markets(request)
    template = create_template(aws, request)
    refusals: list[ProvisionError] = []
    for market, offers in markets:
        try:
            answer = _create(aws, _call(request, template, market, offers))
        except REFUSALS as refusal:
            refusals.append(refusal)  # this market is closed to us; the other may not be
            continue
        if answer is None:
            return _made_unheard(aws, request)
        for made in answer.get("Instances", []):
            return _pending(aws, request, made, offers)
        refusals.append(_refusal(answer.get("Errors", []), market, request))
    raise _worst(refusals)


def _markets(request: FleetRequest) -> list[tuple[Market, list[Offer]]]:
    """The offers that can be asked for, by market; raises where none is left."""
    reachable = [offer for offer in request.offers if offer.zone in request.subnets]
    if not reachable:
        raise BrokenRequest(
            "none of the offers lies in a zone with a default subnet: "
            + ", ".join(sorted({offer.zone for offer in request.offers})),
            hint="aws ec2 create-default-subnet --availability-zone ZONE",
        )
    cap = request.max_price_usd_per_hour
    kept = [offer for offer in reachable if cap is None or offer.price_usd_per_hour <= cap]
    if not kept:
        cheapest = min(offer.price_usd_per_hour for offer in reachable)
        raise PriceTooHigh(
            f"no offer is under {cap} USD an hour; the cheapest costs {cheapest}",
            hint="raise limits.max_price",
        )
    by_market = [(market, [offer for offer in kept if offer.market is market]) for market in Market]
    return [(market, offers[:MAX_OVERRIDES]) for market, offers in by_market if offers]


def _create(aws: Aws, call: CreateFleetRequestTypeDef) -> CreateFleetResultTypeDef | None:
    """Send the call, again with the same token where the reply was lost or says nothing of the request.

    Gives `None` when no reply was ever heard: then AWS may or may not have acted.
    """
    waits = backoff(first_s=0.2)
    for _ in range(ATTEMPTS):
        with aws.errors("launch the machine"):
            try:
                return aws.launcher_ec2.create_fleet(**call)
            except LOST_REPLY:
                time.sleep(next(waits))
            except ClientError as error:
                if code_of(error) not in PASSING:
                    raise
                time.sleep(next(waits))
    return None


def _made_unheard(aws: Aws, request: FleetRequest) -> Instance:
    """The machine that a call without a reply made, found by tag; no second one is asked for, in no market."""
    for instance in find(aws, run_id=request.run_id):
        if instance.state in {"pending", "running"}:
            return instance
    raise ProvisionError(
        f"AWS did not answer the launch in {aws.region}, asked {ATTEMPTS} times, and no machine carries the run's tag",
        hint=f"gpurun resume {request.run_id}, or gpurun down {request.run_id}",
    )


def _call(request: FleetRequest, template: str, market: Market, offers: Sequence[Offer]) -> CreateFleetRequestTypeDef:
    call: CreateFleetRequestTypeDef = {
        "Type": "instant",
        "ClientToken": f"{request.token}-{'s' if market is Market.SPOT else 'd'}",
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": market.value},
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {"LaunchTemplateName": template, "Version": "1"},
                "Overrides": [_override(request, offer) for offer in offers],
            }
        ],
        "TagSpecifications": [tagging.at_birth("fleet", request.run_id, request.tags)],
    }
    if market is Market.SPOT:
        call["SpotOptions"] = {
            "AllocationStrategy": "price-capacity-optimized",
            "InstanceInterruptionBehavior": "terminate",
        }
    else:
        call["OnDemandOptions"] = {"AllocationStrategy": "lowest-price"}
    return call


def _override(request: FleetRequest, offer: Offer) -> FleetLaunchTemplateOverridesRequestTypeDef:
    override: FleetLaunchTemplateOverridesRequestTypeDef = {
        "InstanceType": offer.instance_type,  # type: ignore[typeddict-item] # the stub lists yesterday's types
        "SubnetId": request.subnets[offer.zone],
    }
    if offer.market is Market.SPOT and request.max_price_usd_per_hour is not None:
        override["MaxPrice"] = str(request.max_price_usd_per_hour)
    return override


def _pending(aws: Aws, request: FleetRequest, made: CreateFleetInstanceTypeDef, offers: Sequence[Offer]) -> Instance:
    override = made.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
    zones = {subnet: zone for zone, subnet in request.subnets.items()}
    zone = override.get("AvailabilityZone") or zones.get(override.get("SubnetId", ""), offers[0].zone)
    return Instance(
        instance_id=made["InstanceIds"][0],
        instance_type=made["InstanceType"],
        region=aws.region,
        zone=zone,
        market=Market.SPOT if made.get("Lifecycle") == "spot" else Market.ON_DEMAND,
        state="pending",
        public_address=None,
        private_address=None,
        launched_at=None,
        tags={**request.tags},
    )


def _refusal(errors: Sequence[CreateFleetErrorTypeDef], market: Market, request: FleetRequest) -> ProvisionError:
    """One error for all that a fleet answered: a line for each distinct code and place."""
    zones = {subnet: zone for zone, subnet in request.subnets.items()}
    lines: dict[str, Fault] = {}
    for each in errors:
        override = each.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
        zone = override.get("AvailabilityZone") or zones.get(override.get("SubnetId", ""), "")
        where = " in ".join(part for part in (override.get("InstanceType", ""), zone) if part) or "everywhere"
        code, message = each.get("ErrorCode", "unknown"), each.get("ErrorMessage", "")
        lines[f"{market.value} {where}: {message} ({code})"] = fault_of(code, message)
    if not lines:
        return NoCapacity(f"{market.value}: EC2 made no machine and gives no reason", hint="try again in some minutes")
    fault = min(lines.values(), key=_gravity)
    codes = [each.get("ErrorCode", "") for each in errors if fault_of(each.get("ErrorCode", "")) == fault]
    return _as_provision(fault)("\n".join(lines), hint=fault.advice, code=codes[0] if codes else "")


def _as_provision(fault: Fault) -> type[ProvisionError]:
    """The call itself was let in: where a fleet speaks of credentials, a permission is missing."""
    if issubclass(fault.error, ProvisionError):
        return fault.error
    return NotPermitted if issubclass(fault.error, CredentialsError) else ProvisionError


def _gravity(fault: Fault) -> int:
    kind = _as_provision(fault)
    return GRAVITY.index(kind) if kind in GRAVITY else len(GRAVITY)


def _worst(refusals: Sequence[ProvisionError]) -> ProvisionError:
    """The refusal to act on, speaking for all."""
    worst = min(refusals, key=lambda each: GRAVITY.index(type(each)) if type(each) in GRAVITY else len(GRAVITY))
    message = "no machine could be had:\n" + "\n".join(each.message for each in refusals)
    return type(worst)(message, hint=worst.hint, code=worst.code)
