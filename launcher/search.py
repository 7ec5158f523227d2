"""One search for a machine: region after region, market after market, each call written down before it is made.

A region that refuses costs a look at its network, a template, one call for each market, and the template's removal:
the key travels in the user-data, and the door is made once there is a machine to open it to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from launcher import budget, lifeline
from launcher.aws import fleet, images, network, refusals, template
from launcher.aws.client import Aws
from launcher.aws.faulttable import NOT_YET, Kind
from launcher.aws.refusals import Refusal
from launcher.domain import TAG_DEADLINE, TAG_NAME, TAG_RUN, TAG_SEGMENT, Image, Instance, Market, Offer
from launcher.errors import ProvisionError
from launcher.live import LiveRun
from launcher.owner import TAG_OWNER, owner
from launcher.sync.ssh import keys

ROUNDS = 3
"""Of calls for one market of a region: EC2 may answer for some of the pools alone."""
AGAIN = NOT_YET | {fleet.MISMATCH}
"""Answers to the call, not to the wish: it is put anew under another token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A machine that was made, and how it was asked for."""

    instance: Instance
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One CreateFleet, as it stands in the ledger."""

    token: str
    attempt: int
    offers: tuple[Offer, ...]
    template: str


def search(live: LiveRun, offers: Sequence[Offer], segment: int) -> Made | tuple[Refusal, ...]:
    """Make one machine in the first region that has one, or tell what each refused.

    Raises `fleet.Unanswered` where a machine may have been made, and `CredentialsError`.
    """
    refused: tuple[Refusal, ...] = ()
    for region in dict.fromkeys(offer.region for offer in offers):
        left = _unbarred([offer for offer in offers if offer.region == region], refused)
        if not left or _lies_with_the_account(refused):
            continue
        aws = live.aws.at(region)
        found = _in_region(live, aws, left, segment)
        if isinstance(found, Made):
            return found
        refusals.note(live.ledger.cache, aws, found)
        refused += found
    return refused


def _unbarred(offers: Sequence[Offer], refused: Sequence[Refusal]) -> list[Offer]:
    return [offer for offer in offers if not any(each.bars(offer) for each in refused)]


def _lies_with_the_account(refused: Sequence[Refusal]) -> bool:
    """Whether two regions missed the same permission: then the others need not be asked."""
    denied = {(each.region, each.code, each.step) for each in refused if each.kind is Kind.PERMISSION}
    answers = [answer for _, *answer in denied]
    return any(answers.count(answer) > 1 for answer in answers)


def _in_region(live: LiveRun, aws: Aws, offers: Sequence[Offer], segment: int) -> Made | tuple[Refusal, ...]:
    live.event("network.intent", region=aws.region)
    try:
        request = _prepared(live, aws, offers, segment)
    except ProvisionError as error:
        return (refusals.of_error(error, region=aws.region),)
    refused: tuple[Refusal, ...] = ()
    for market in dict.fromkeys(offer.market for offer in offers):
        left = _unbarred([offer for offer in offers if offer.market is market], refused)
        found = _in_market(live, aws, request, left, segment) if left else ()
        if isinstance(found, Made):
            return found
        refused += found
    _leave(live, aws, request.template)
    return refused


def _prepared(live: LiveRun, aws: Aws, offers: Sequence[Offer], segment: int) -> fleet.FleetRequest:
    """What every call in the region has in common, with its template made."""
    with ThreadPoolExecutor(1) as pool:
        subnets = pool.submit(network.default_subnets, aws, sorted({offer.zone for offer in offers}))
        image = image_in(live, aws, offers[0].architecture)
        subnet_of = subnets.result()
    request = fleet.FleetRequest(
        run_id=live.run_id,
        token="",
        image=image,
        offers=offers,
        subnets=subnet_of,
        user_data=_user_data(live),
        disk_gib=max(live.spec.resources.disk_gib, image.root_size_gib),
        max_price_usd_per_hour=budget.max_price_usd_per_hour(live.spec.limits, live.plan.dearest),
        tags=tags_of(live) | {TAG_SEGMENT: str(segment)},
    )
    live.ledger.intend(live.run_id, "launch-template", template.name_of(request), aws.region)
    return replace(request, template=template.create_template(aws, request))


def _in_market(
    live: LiveRun, aws: Aws, request: fleet.FleetRequest, offers: Sequence[Offer], segment: int
) -> Made | tuple[Refusal, ...]:
    """One market of a region: all its pools in one call; those that the answer leaves out, in another."""
    refused: tuple[Refusal, ...] = ()
    left = list(offers)
    for number in range(ROUNDS):
        intent = _intend(live, request, segment, left)
        try:
            found = _ask(live, aws, request, intent, segment)
        except ProvisionError as error:
            if isinstance(error, fleet.Unanswered):
                raise
            found = (refusals.of_error(error, region=aws.region, market=left[0].market),)
        if isinstance(found, Made):
            return found
        if number + 1 < ROUNDS and all(each.code in AGAIN for each in found):
            continue
        refused += found
        left = _unbarred(left, refused)
        if not left:
            break
    return refused


def _intend(live: LiveRun, request: fleet.FleetRequest, segment: int, offers: Sequence[Offer]) -> Intent:
    """Write the next call down: the last one again where nobody heard its answer, else under a token of its own."""
    region, market = offers[0].region, offers[0].market
    earlier = [
        event
        for event in live.ledger.events(live.run_id)
        if event.kind in {"fleet.intent", "fleet.refused"}
        and (event.data["region"], event.data.get("segment"), event.data.get("market")) == (region, segment, market)
    ]
    answered = sum(event.kind == "fleet.refused" for event in earlier)
    asked, template_name = tuple(offers), request.template
    if earlier and earlier[-1].kind == "fleet.intent":
        template_name = earlier[-1].data["template"]
        pools = set(earlier[-1].data["pools"])
        in_this_market = [each for each in live.plan.offers if (each.region, each.market) == (region, market)]
        asked = tuple(each for each in in_this_market if _pool_text(each) in pools) or asked
    intent = Intent(
        token=token_of(live.record.token, region, segment=segment, market=market, attempt=answered + 1),
        attempt=answered + 1,
        offers=asked,
        template=template_name,
    )
    live.event(
        "fleet.intent",
        region=region,
        market=market.value,
        token=intent.token,
        segment=segment,
        attempt=intent.attempt,
        template=template_name,
        pools=[_pool_text(each) for each in asked],
    )
    return intent


def _pool_text(offer: Offer) -> str:
    return f"{offer.instance_type} {offer.zone}"


def _ask(
    live: LiveRun, aws: Aws, request: fleet.FleetRequest, intent: Intent, segment: int
) -> Made | tuple[Refusal, ...]:
    resource = live.ledger.intend(live.run_id, "instance", intent.token, aws.region)
    with live.signals.held("asking EC2 for the machine; a moment"):
        found = fleet.launch(aws, replace(request, token=intent.token, offers=intent.offers, template=intent.template))
        if isinstance(found, Instance):
            live.ledger.confirm(resource, found.instance_id)
            return Made(instance=found, token=intent.token)
        live.event(
            "fleet.refused",
            region=aws.region,
            market=intent.offers[0].market.value,
            token=intent.token,
            segment=segment,
            attempt=intent.attempt,
            codes=sorted({each.code for each in found}),
        )
        live.ledger.released(resource)
        return found


def _leave(live: LiveRun, aws: Aws, name: str) -> None:
    """Take the template away from a region that has no machine for us."""
    template.delete_by_name(aws, name)
    for resource in live.ledger.open_resources(live.run_id):
        if (resource.kind, resource.token, resource.region) == ("launch-template", name, aws.region):
            live.ledger.released(resource.resource_id)


def image_in(live: LiveRun, aws: Aws, architecture: str) -> Image:
    """The run's image in a region, looked up once an hour."""
    if live.plan.image.region == aws.region:
        return live.plan.image
    selector = live.spec.resources.image
    return images.remembered(aws, selector, live.ledger.cache, images.KEPT, architecture=architecture)


def token_of(run_token: str, region: str, *, segment: int = 1, market: Market = Market.SPOT, attempt: int = 1) -> str:
    """The idempotency token of one call: EC2 takes 64 characters, names may be long.

    Another attempt has another one, since the same token gives the same answer.
    """
    return hashlib.sha256(f"{run_token} {region} {segment} {market} {attempt}".encode()).hexdigest()[:48]


def tags_of(live: LiveRun) -> dict[str, str]:
    """The tags on everything that is made for the run: enough for `gc` to know it with the ledger lost."""
    return {
        TAG_RUN: live.run_id,
        TAG_NAME: live.record.name,
        TAG_DEADLINE: live.deadline.strftime("%Y-%m-%dT%H:%M:%SZ"),
        TAG_OWNER: owner(),
        "Name": f"gpurun {live.run_id}",
    }


def public_key_of(live: LiveRun) -> str:
    """The public line of the key that opens the machine: the run's own, or the user's."""
    path = live.spec.ssh.key or live.paths.key
    public_line = keys.inspect(path).public_line
    if public_line is None:
        message = f"{path}: its public half cannot be read without its passphrase"
        raise ProvisionError(message, hint=f"ssh-keygen -y -f {path} > {path}.pub")
    return public_line


def _user_data(live: LiveRun) -> str:
    return lifeline.user_data(
        deadline=live.deadline,
        host_key_private=live.paths.host_key.read_text(),
        host_key_public=live.record.host_key_line or "",
        authorized_key=public_key_of(live),
    )
