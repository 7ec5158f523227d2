"""From a plan to a machine that answers: intent first, and one token, so that doing it twice is harmless."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

from launcher import lifeline
from launcher.aws import fleet, images, keypair, network
from launcher.aws.client import Aws
from launcher.domain import TAG_DEADLINE, TAG_NAME, TAG_RUN, Image, Instance, Offer, RunStatus
from launcher.errors import MachineGone, ProvisionError
from launcher.live import LiveRun
from launcher.owner import TAG_OWNER, owner
from launcher.sync.ssh import keys

BOOT_TIMEOUT_S = 300.0
"""A g5 boots in 30 to 90 s; five minutes without SSH is a broken image or a closed door."""


def machine(live: LiveRun) -> Instance:
    """The run's machine: the one it has, or a new one.

    Raises a `ProvisionError` that names every pool's refusal, and `MachineGone` when the run's machine is gone.
    """
    if live.record.instance_id is not None or live.has_event("fleet.intent"):
        found = _existing(live)
        if found is not None:
            return found
    return _launch(live)


def _existing(live: LiveRun) -> Instance | None:
    instances = fleet.find(live.aws, run_id=live.run_id)
    standing = [instance for instance in instances if instance.state in {"pending", "running"}]
    if standing:
        return _adopt(live, standing[0])
    if instances or live.record.instance_id is not None:
        reason = instances[0].state_reason if instances else "EC2 does not know it any more"
        raise MachineGone(
            f"the machine of run {live.run_id} is gone: {reason or 'terminated'}",
            hint=f"what came home lies in {live.record.results_dir}; `gpurun down {live.run_id}` closes the run",
        )
    return None


def _adopt(live: LiveRun, instance: Instance) -> Instance:
    price = next(
        (
            offer.price_usd_per_hour
            for offer in live.plan.offers
            if (offer.instance_type, offer.zone, offer.market)
            == (instance.instance_type, instance.zone, instance.market)
        ),
        live.plan.cost.instance_usd_per_hour,
    )
    live.update(
        instance_id=instance.instance_id,
        instance_type=instance.instance_type,
        zone=instance.zone,
        region=instance.region,
        market=instance.market.value,
        price_usd_per_hour=price,
    )
    live.aws = live.aws.at(instance.region)
    live.event("instance", id=instance.instance_id, zone=instance.zone, price_usd_per_hour=price)
    return instance


def _launch(live: LiveRun) -> Instance:
    refusals: list[ProvisionError] = []
    for region in dict.fromkeys(offer.region for offer in live.plan.offers):
        offers = tuple(offer for offer in live.plan.offers if offer.region == region)
        try:
            return _launch_in(live, live.aws.at(region), offers)
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


def _launch_in(live: LiveRun, aws: Aws, offers: tuple[Offer, ...]) -> Instance:
    token = token_of(live.record.token, aws.region)
    tags = tags_of(live)
    live.update(region=aws.region)
    live.event("network.intent", region=aws.region)
    with ThreadPoolExecutor(4) as pool:
        ingress = pool.submit(_open_ingress, live, aws, tags)
        key = pool.submit(_import_key, live, aws, tags)
        image = pool.submit(_image, live, aws, offers)
        subnets = pool.submit(network.default_subnets, aws, sorted({offer.zone for offer in offers}))
        group_id, key_name = ingress.result(), key.result()
        found, subnet_ids = image.result(), subnets.result()
    live.event("fleet.intent", region=aws.region, token=token)
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
        return _adopt(live, instance)


def token_of(run_token: str, region: str) -> str:
    """The idempotency token of a run's machine in a region: EC2 takes 64 characters, names may be long."""
    return hashlib.sha256(f"{run_token} {region}".encode()).hexdigest()[:48]


def tags_of(live: LiveRun) -> dict[str, str]:
    """The tags on everything that is made for the run: enough for `gc` to know it with the ledger lost."""
    return {
        TAG_RUN: live.run_id,
        TAG_NAME: live.record.name,
        TAG_DEADLINE: live.deadline.strftime("%Y-%m-%dT%H:%M:%SZ"),
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


def boot(live: LiveRun, instance: Instance) -> Instance:
    """Wait until EC2 says that the machine runs and where."""
    if live.record.status is RunStatus.PROVISIONING:
        live.advance(RunStatus.BOOTING)
    ready = fleet.wait_running(live.aws, instance.instance_id, timeout_s=BOOT_TIMEOUT_S)
    live.update(address=ready.public_address or ready.private_address)
    return ready
