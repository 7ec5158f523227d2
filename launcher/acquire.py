"""From a plan to a machine that was made, or to what stands in the way, told in a line for each region and cause."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from launcher import allowance, plan
from launcher.aws import refusals, verdict
from launcher.aws.polling import backoff
from launcher.aws.refusals import KEPT_S, Pool, Refusal
from launcher.domain import Instance, Offer, Plan
from launcher.errors import BrokenRequest, BudgetExceeded, NotPermitted, ProvisionError
from launcher.ledger import account_from_text
from launcher.live import LiveRun, dump_plan, now
from launcher.search import Made, search

FIRST_WAIT_S = 10.0
"""Between the first two tries of a launch that waits; later ones wait longer, up to `KEPT_S`."""
WAIT_FACTOR = 1.6
WAIT_EVENT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquired:
    """A machine that was made for the run, and what it was had for."""

    instance: Instance
    offer: Offer
    """The pool that it came from, with the price in force."""
    token: str
    """The idempotency token that it was asked for with."""
    region: str


def acquire(
    live: LiveRun, *, segment: int = 1, avoid: frozenset[Pool] = frozenset(), wait_until: datetime | None = None
) -> Acquired:
    """Make the machine of one segment of the run; the pools in `avoid` are asked only where no other has one.

    With `wait_until` it keeps trying until then, as long as what AWS refuses may pass by waiting. Raises a
    `ProvisionError` that names every region's refusal, `fleet.Unanswered` where a machine may have been made, and
    `CredentialsError`.
    """
    if segment > 1:
        with suppress(ProvisionError):
            _plan_anew(live)  # what the first machine cost is hours ago
    found = attempt(live, segment, avoid)
    if isinstance(found, Acquired):
        return found
    if wait_until is None:
        raise verdict.error(found)
    return _when_it_appears(live, segment, avoid, found, wait_until)


def _when_it_appears(
    live: LiveRun, segment: int, avoid: frozenset[Pool], refused: tuple[Refusal, ...], until: datetime
) -> Acquired:
    standing: tuple[Refusal, ...] = ()
    for wait_s in backoff(FIRST_WAIT_S, KEPT_S, WAIT_FACTOR):
        standing += tuple(each for each in refused if not each.curable and each not in standing)
        left_s = (until - now()).total_seconds()
        if left_s <= 0 or all(any(each.bars(offer) for each in standing) for offer in live.plan.offers):
            raise verdict.error(refused)
        _tell(live, verdict.lines(refused), min(wait_s, left_s), until)
        time.sleep(min(wait_s, left_s))
        changed = _plan_anew(live)
        if changed is not None:
            _tell(live, [changed], wait_s, until)
            continue
        found = attempt(live, segment, avoid, standing=standing, max_age_s=wait_s)
        if isinstance(found, Acquired):
            return found
        refused = found
    raise verdict.error(refused)


def _tell(live: LiveRun, lines: list[str], wait_s: float, until: datetime) -> None:
    """One line: the last reason, and when the next try is."""
    reason = lines[0].split(";")[0] + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else "")
    at = now() + timedelta(seconds=wait_s)
    live.update(reason=f"waiting for a machine: {reason}")
    live.reporter.note(f"no machine yet: {reason}; next try at {at:%H:%M:%S}, waiting until {until:%Y-%m-%d %H:%M} UTC")


def _plan_anew(live: LiveRun) -> str | None:
    """Plan with the prices of now, the price cap in force; why there is no plan, if there is none.

    While no machine was ever asked for in vain, nothing is billed: the run's time begins with this try.
    """
    try:
        known = plan.experience(live.ledger, account_from_text(live.record.account), live.record.name)
        live.plan = plan.make(live.spec, live.aws, live.ledger.cache, known=known)
    except (ProvisionError, BudgetExceeded) as error:
        if isinstance(error, (NotPermitted, BrokenRequest)):
            raise
        return error.message.splitlines()[0]
    live.update(plan=dump_plan(live.plan))
    if not live.ledger.segments(live.run_id):
        live.update(deadline_at=now() + timedelta(hours=live.plan.hours))
    return None


def asked_to_wait(live: LiveRun) -> datetime | None:
    """Until when the run waits for its first machine, as its launch was told; `None`: not at all."""
    asked = live.told(WAIT_EVENT)
    return datetime.fromisoformat(asked[-1]["until"]) if asked else None


def ask_to_wait(live: LiveRun, wait_s: float) -> None:
    """Write down that the run is to wait for its first machine."""
    live.event(WAIT_EVENT, until=(now() + timedelta(seconds=wait_s)).isoformat())


def attempt(
    live: LiveRun,
    segment: int,
    avoid: frozenset[Pool] = frozenset(),
    *,
    standing: tuple[Refusal, ...] = (),
    max_age_s: float = KEPT_S,
) -> Acquired | tuple[Refusal, ...]:
    """Ask every pool of the plan once, but for those refused within `max_age_s` or by what is `standing`.

    Raises `BudgetExceeded` where what is left of the budget buys no useful time.
    """
    allowance.hold(live)
    barred = (*standing, *_refused_lately(live, max_age_s))
    skipped = tuple(each for each in barred if any(each.bars(offer) for offer in live.plan.offers))
    offers = [offer for offer in live.plan.offers if not any(each.bars(offer) for each in barred)]
    refused = skipped
    for group in _preferred_first(offers, avoid):
        found = search(live, group, segment)
        if isinstance(found, Made):
            offer = offer_of(live.plan, found.instance)
            return Acquired(instance=found.instance, offer=offer, token=found.token, region=found.instance.region)
        refused += found
    return refused


def _refused_lately(live: LiveRun, max_age_s: float) -> tuple[Refusal, ...]:
    now = time.time()
    regions = dict.fromkeys(offer.region for offer in live.plan.offers)
    found = [refusals.refused(live.ledger.cache, live.aws.at(region), now, max_age_s=max_age_s) for region in regions]
    return tuple(each for some in found for each in sorted(some, key=lambda refusal: refusal.at))


def _preferred_first(offers: list[Offer], avoid: frozenset[Pool]) -> list[list[Offer]]:
    preferred = [offer for offer in offers if pool_of(offer) not in avoid]
    others = [offer for offer in offers if pool_of(offer) in avoid]
    return [group for group in (preferred, others) if group]


def offer_of(of: Plan, instance: Instance) -> Offer:
    """The offer that a machine came from; of a machine that fits none, its pool at the dearest price of the plan."""
    made_of = Pool(market=instance.market, instance_type=instance.instance_type, zone=instance.zone)
    dearest = max(of.offers, key=lambda offer: offer.price_usd_per_hour)
    unknown = replace(
        dearest,
        instance_type=instance.instance_type,
        region=instance.region,
        zone=instance.zone,
        market=instance.market,
    )
    return next((offer for offer in of.offers if pool_of(offer) == made_of), unknown)


def pool_of(offer: Offer) -> Pool:
    """Where an offer's machine would come from."""
    return Pool(market=offer.market, instance_type=offer.instance_type, zone=offer.zone)
