"""The launch: one CreateFleet over the pools of a region and a market, and what became of it.

`instant` fleets with the `price-capacity-optimized` strategy are what AWS recommends for spot (EC2 User
Guide, "Allocation strategies for EC2 Fleet"). Spot and on-demand never share a call, so that each refusal can
be told apart.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError

from launcher.aws import refusals
from launcher.aws import tags as tagging
from launcher.aws.faults import LOST_REPLY, code_of
from launcher.aws.faulttable import NOT_YET, PASSING
from launcher.aws.instances import console_output, describe, find, terminate, wait_running, wait_terminated
from launcher.aws.polling import backoff
from launcher.aws.template import FleetRequest, create_template, delete_template
from launcher.domain import TAG_SEGMENT, Instance, Market
from launcher.errors import BrokenRequest, NoCapacity, NotPermitted, PriceTooHigh, ProvisionError, QuotaExceeded

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
    from launcher.aws.refusals import Refusal
    from launcher.domain import Offer

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
ATTEMPTS = 6
UNHEARD_S = 10.0
"""By when a machine that was made must show under its tag: DescribeInstances is eventually consistent."""
MISMATCH = "IdempotentParameterMismatch"
ANSWERS = (NoCapacity, QuotaExceeded, PriceTooHigh, NotPermitted, BrokenRequest)
"""After these AWS has surely made nothing."""


class Unanswered(ProvisionError):
    """The call was sent and never answered: a machine may come of it, and another region would make a second one."""


def launch(aws: Aws, request: FleetRequest) -> Instance | tuple[Refusal, ...]:
    """Make one machine in the best pool that has one; returns it as `pending`, or else what AWS refused.

    Raises `BrokenRequest` and `PriceTooHigh` where no pool is left to ask, before anything is made, `Unanswered`, and
    `CredentialsError`.
    """
    offers = _askable(request)
    template = request.template or create_template(aws, request)
    try:
        answer = _create(aws, call(request, template, offers))
    except ANSWERS as refusal:
        if refusal.code == MISMATCH:
            made = _made_unheard(aws, request)
            if made is not None:
                return made
        return (refusals.of_error(refusal, region=aws.region, market=offers[0].market),)
    if answer is None:
        return _made_unheard(aws, request) or _nobody_knows(aws, request)
    for made_now in answer.get("Instances", []):
        return _pending(aws, request, made_now, offers)
    return _refusals(aws, request, answer.get("Errors", []), offers[0].market)


def _askable(request: FleetRequest) -> list[Offer]:
    """The offers that can be asked for; raises where none is left."""
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
    return kept[:MAX_OVERRIDES]


def _create(aws: Aws, asked: CreateFleetRequestTypeDef) -> CreateFleetResultTypeDef | None:
    """Send the call, again with the same token where the reply was lost or says nothing of the request.

    Gives `None` when no reply was ever heard: then AWS may or may not have acted.
    """
    waits = backoff(first_s=0.2, cap_s=5.0, factor=2.0)
    heard = 0
    while True:
        with aws.errors("launch the machine"):
            try:
                return aws.launcher_ec2.create_fleet(**asked)
            except LOST_REPLY:
                heard += 1
            except ClientError as error:
                # A template that was made a moment ago may not be known everywhere yet.
                if code_of(error) not in PASSING | NOT_YET:
                    raise
                heard += 1
                if heard == ATTEMPTS and code_of(error) in NOT_YET:
                    raise
        if heard == ATTEMPTS:
            return None
        time.sleep(next(waits))


def _made_unheard(aws: Aws, request: FleetRequest) -> Instance | None:
    """The machine that a call without a reply made, found by its tags once it must show."""
    segment = request.tags.get(TAG_SEGMENT)
    limit = time.monotonic() + UNHEARD_S
    for wait_s in backoff(first_s=0.5):
        for instance in find(aws, run_id=request.run_id):
            if instance.state in {"pending", "running"} and instance.tags.get(TAG_SEGMENT) == segment:
                return instance
        if time.monotonic() + wait_s >= limit:
            return None
        time.sleep(wait_s)
    return None


def _nobody_knows(aws: Aws, request: FleetRequest) -> tuple[Refusal, ...]:
    raise Unanswered(
        f"AWS did not answer the launch in {aws.region}, asked {ATTEMPTS} times, and no machine carries the run's tag",
        hint=f"gpurun resume {request.run_id}, or gpurun down {request.run_id}",
    )


def _capacity(market: Market) -> Literal["spot", "on-demand"]:
    return "spot" if market is Market.SPOT else "on-demand"


def call(request: FleetRequest, template: str, offers: Sequence[Offer]) -> CreateFleetRequestTypeDef:
    """What CreateFleet is asked for: one machine in the best of the pools, all of one market."""
    market = offers[0].market
    asked: CreateFleetRequestTypeDef = {
        "Type": "instant",
        "ClientToken": request.token,
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": _capacity(market)},
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {"LaunchTemplateName": template, "Version": "1"},
                "Overrides": [_override(request, offer) for offer in offers],
            }
        ],
        "TagSpecifications": [tagging.at_birth("fleet", request.run_id, request.tags)],
    }
    if market is Market.SPOT:
        asked["SpotOptions"] = {
            "AllocationStrategy": "price-capacity-optimized",
            "InstanceInterruptionBehavior": "terminate",
        }
    else:
        asked["OnDemandOptions"] = {"AllocationStrategy": "lowest-price"}
    return asked


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


def _refusals(
    aws: Aws, request: FleetRequest, errors: Sequence[CreateFleetErrorTypeDef], market: Market
) -> tuple[Refusal, ...]:
    """What a fleet that made nothing answered, pool by pool."""
    zones = {subnet: zone for zone, subnet in request.subnets.items()}
    found = []
    for each in errors:
        override = each.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
        zone = override.get("AvailabilityZone") or zones.get(override.get("SubnetId", ""), "")
        code, message = each.get("ErrorCode", "unknown"), each.get("ErrorMessage", "")
        place = {"instance_type": override.get("InstanceType", ""), "zone": zone}
        found.append(refusals.of_code(code, message, aws=aws, market=market, **place))
    silent = refusals.of_code(
        "UnfulfillableCapacity", "EC2 made no machine and gives no reason", aws=aws, market=market
    )
    return tuple(found) or (silent,)
