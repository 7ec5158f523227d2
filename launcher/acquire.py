"""From a plan to a machine that was made: intent first, and one token, so that doing it twice is harmless."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from launcher import lifeline
from launcher.aws import fleet, images, keypair, network
from launcher.aws.client import Aws
from launcher.aws.refusals import Pool
from launcher.domain import TAG_DEADLINE, TAG_NAME, TAG_RUN, TAG_SEGMENT, Image, Instance, Offer, Plan
from launcher.errors import ProvisionError
from launcher.live import LiveRun
from launcher.owner import TAG_OWNER, owner
from launcher.sync.ssh import keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquired:
    """A machine that was made for the run, and what it was had for."""

    instance: Instance
    offer: Offer
    """The pool that it came from, with the price in force."""
    token: str
    """The idempotency token that it was asked for with."""
    region: str


def acquire(live: LiveRun, *, segment: int = 1, avoid: frozenset[Pool] = frozenset()) -> Acquired:
    """Make the machine of one segment of the run; the pools in `avoid` are asked only where no other has one.

    Raises a `ProvisionError` that names every pool's refusal.
    """
    refusals: list[ProvisionError] = []
    for region in dict.fromkeys(offer.region for offer in live.plan.offers):
        offers = tuple(offer for offer in live.plan.offers if offer.region == region and _pool(offer) not in avoid)
        try:
            return _launch_in(live, live.aws.at(region), offers, segment)
        except ProvisionError as refusal:
            if type(refusal) is ProvisionError:
                # No refusal, but no answer: a machine may be there, and another region would make a second one.
                raise
            live.event("fleet.refused", region=region, error=refusal.message)
            refusals.append(refusal)
    if len(refusals) == 1:
        raise refusals[0]
    worst = refusals[0]
    raise type(worst)("\n".join(each.message for each in refusals), hint=worst.hint, code=worst.code)


def _launch_in(live: LiveRun, aws: Aws, offers: tuple[Offer, ...], segment: int) -> Acquired:
    token = token_of(live.record.token, aws.region, segment)
    tags = tags_of(live, segment)
    live.update(region=aws.region)
    live.event("network.intent", region=aws.region)
    with ThreadPoolExecutor(4) as pool:
        ingress = pool.submit(_open_ingress, live, aws, tags)
        key = pool.submit(_import_key, live, aws, tags)
        image = pool.submit(_image, live, aws, offers)
        subnets = pool.submit(network.default_subnets, aws, sorted({offer.zone for offer in offers}))
        group_id, key_name = ingress.result(), key.result()
        found, subnet_ids = image.result(), subnets.result()
    live.event("fleet.intent", region=aws.region, token=token, segment=segment)
    resource = live.ledger.intend(live.run_id, "instance", token, aws.region)
    request = fleet.FleetRequest(
        run_id=live.run_id,
        token=token,
        image=found,
        offers=offers,
        subnets=subnet_ids,
        group_id=group_id,
        key_name=key_name,
        user_data=_user_data(live),
        disk_gib=max(live.spec.resources.disk_gib, found.root_size_gib),
        max_price_usd_per_hour=live.spec.limits.max_price_usd_per_hour,
        tags=tags,
    )
    with live.signals.held("asking EC2 for the machine; a moment"):
        instance = fleet.launch(aws, request)
        live.ledger.confirm(resource, instance.instance_id)
    return Acquired(instance=instance, offer=offer_of(live.plan, instance), token=token, region=aws.region)


def offer_of(plan: Plan, instance: Instance) -> Offer:
    """The offer that a machine came from; of a machine that fits none, its pool at the dearest price of the plan."""
    made_of = Pool(market=instance.market, instance_type=instance.instance_type, zone=instance.zone)
    dearest = max(plan.offers, key=lambda offer: offer.price_usd_per_hour)
    unknown = replace(
        dearest,
        instance_type=instance.instance_type,
        region=instance.region,
        zone=instance.zone,
        market=instance.market,
    )
    return next((offer for offer in plan.offers if _pool(offer) == made_of), unknown)


def _pool(offer: Offer) -> Pool:
    return Pool(market=offer.market, instance_type=offer.instance_type, zone=offer.zone)


def token_of(run_token: str, region: str, segment: int = 1) -> str:
    """The idempotency token of a segment's machine in a region: EC2 takes 64 characters, names may be long."""
    return hashlib.sha256(f"{run_token} {region} {segment}".encode()).hexdigest()[:48]


def tags_of(live: LiveRun, segment: int = 1) -> dict[str, str]:
    """The tags on what is made for a segment of the run: enough for `gc` to know it with the ledger lost."""
    return {
        TAG_RUN: live.run_id,
        TAG_NAME: live.record.name,
        TAG_DEADLINE: live.deadline.strftime("%Y-%m-%dT%H:%M:%SZ"),
        TAG_SEGMENT: str(segment),
        TAG_OWNER: owner(),
        "Name": f"gpurun {live.run_id}",
    }


def _open_ingress(live: LiveRun, aws: Aws, tags: dict[str, str]) -> str:
    address = network.caller_address(aws)
    prefix = 128 if ":" in address else 32
    ingress = network.open_ingress(aws, run_id=live.run_id, cidr=f"{address}/{prefix}", tags=tags)
    return ingress.group_id


def _import_key(live: LiveRun, aws: Aws, tags: dict[str, str]) -> str:
    public_line = public_key_of(live)
    return keypair.import_key(aws, run_id=live.run_id, public_line=public_line, tags=tags)


def public_key_of(live: LiveRun) -> str:
    """The public line of the key that opens the machine: the run's own, or the user's."""
    path = live.spec.ssh.key or live.paths.key
    public_line = keys.inspect(path).public_line
    if public_line is None:
        message = f"{path}: its public half cannot be read without its passphrase"
        raise ProvisionError(message, hint=f"ssh-keygen -y -f {path} > {path}.pub")
    return public_line


def _image(live: LiveRun, aws: Aws, offers: tuple[Offer, ...]) -> Image:
    if live.plan.image.region == aws.region:
        return live.plan.image
    return images.resolve(aws, live.spec.resources.image, architecture=offers[0].architecture)


def _user_data(live: LiveRun) -> str:
    return lifeline.user_data(
        deadline=live.deadline,
        host_key_private=live.paths.host_key.read_text(),
        host_key_public=live.record.host_key_line or "",
    )
