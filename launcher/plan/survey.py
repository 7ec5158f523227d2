"""Every pool that fits, with what the run is expected to cost there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from launcher import cost
from launcher.aws import offers, placement, prices, snapshots
from launcher.aws.abreast import MIN_PATIENCE_S, abreast
from launcher.aws.client import Aws
from launcher.aws.offercache import OfferCache, unanswered
from launcher.domain import Assumptions, JobSpec, Limits, Market, Offer, Requirements
from launcher.errors import GpurunError, NoCapacity
from launcher.plan import expected, freight
from launcher.plan.budget import estimate
from launcher.plan.experience import Experience
from launcher.plan.needs import needed
from launcher.plan.ranking import by_cost, near_the_cheapest

Avoid = frozenset[tuple[str, str, str]]
"""Pools not to be tried: instance type, zone, market."""
SCORES = "placement scores"
HISTORY_TYPES = 16
"""Types of a region whose price history is read, cheapest pools first: a page or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is on offer for a run."""

    offers: tuple[Offer, ...]
    """By expected cost."""
    assumptions: Assumptions
    warnings: tuple[str, ...]
    silent: frozenset[str]
    """Regions whose figures are old, since EC2 does not answer there."""
    snapshot_date: str
    """Of the figures in this package, where nothing else could be had; else empty."""


def survey(
    spec: JobSpec,
    aws: Aws,
    cache: OfferCache,
    *,
    known: Experience,
    avoid: Avoid = frozenset(),
    rehearsal: bool = False,
    upload_bytes: int | None = None,
) -> Survey:
    """Find the pools and price the run in each; in a rehearsal the figures in this package will do.

    `upload_bytes`: of code and data; they are looked at where it is not given. Raises as `offers.survey` does,
    `PriceTooHigh` where the price cap excludes all, `NoCapacity` where all that is left is to be avoided.
    """
    requirements = needed(spec)
    with ThreadPoolExecutor(1) as aside:
        weight = aside.submit(freight.weigh, spec) if upload_bytes is None else None
        found, snapshot_date = _on_offer(aws, requirements, cache, rehearsal=rehearsal)
        kept = _not_avoided(offers.under_cap(found.offers, spec.limits.max_price_usd_per_hour), avoid)
        volatility, scores = _tempers(aws, [each for each in kept if each.region not in found.silent], cache)
        size_bytes = weight.result() if weight is not None else upload_bytes
    assumptions = Assumptions(
        work_hours=_work_hours(spec.limits, kept, requirements.disk_gib),
        boot_s=known.boot_s,
        upload_bytes=size_bytes,
        upload_bytes_per_s=known.upload_bytes_per_s,
        checkpoint_interval_s=known.checkpoint_interval_s,
    )
    priced = [
        expected.priced(
            offer,
            assumptions,
            requirements.disk_gib,
            volatility.get(f"{offer.instance_type}/{offer.zone}"),
            scores.get(offer.region),
        )
        for offer in kept
    ]
    return Survey(
        offers=tuple(by_cost(priced)),
        assumptions=assumptions,
        warnings=found.notes,
        silent=found.silent,
        snapshot_date=snapshot_date,
    )


def _on_offer(aws: Aws, requirements: Requirements, cache: OfferCache, *, rehearsal: bool) -> tuple[offers.Found, str]:
    """What is on offer, and the date of the figures where they are those of this package."""
    try:
        return offers.survey(aws, requirements, cache), ""
    except GpurunError as error:
        if not unanswered(error) and not aws.anonymous:
            raise
        brought = offers.from_snapshot(requirements.regions or (aws.region,), requirements) if rehearsal else []
        date = snapshots.figures()["date"]
        if not rehearsal:
            error.hint = f"{error.hint}; --dry-run plans with figures of {date} meanwhile"
        if not brought:
            raise
        where = frozenset(offer.region for offer in brought)
        told = (
            f"{error.message.splitlines()[0]}: this is a snapshot of {date}, with on-demand prices of"
            f" {', '.join(sorted(where))} alone"
        )
        return offers.Found(offers=brought, notes=(told,), silent=where), date


def _not_avoided(found: Sequence[Offer], avoid: Avoid) -> list[Offer]:
    kept = [offer for offer in found if (offer.instance_type, offer.zone, offer.market.value) not in avoid]
    if found and not kept:
        raise NoCapacity(
            f"each of the {len(found)} pools that fit has refused in the last minutes",
            hint="wait some minutes, or allow more instance types, zones or regions",
        )
    return kept


def _tempers(aws: Aws, found: Sequence[Offer], cache: OfferCache) -> tuple[dict[str, float], dict[str, int]]:
    """Volatility by pool and placement scores by region, of the spot pools that may be tried; a courtesy, both."""
    types: dict[str, dict[str, None]] = {}
    for offer in near_the_cheapest(found, Market.SPOT):
        types.setdefault(offer.region, {})[offer.instance_type] = None
    if not types:
        return {}, {}
    everywhere = [name for names in types.values() for name in names]
    questions: dict[str, Callable[[], Mapping[str, float]]] = {
        region: partial(prices.volatility, aws.at(region), [*names][:HISTORY_TYPES], cache)
        for region, names in types.items()
    }
    questions[SCORES] = partial(placement.scores, aws, [*types], everywhere, cache)
    told = abreast(questions, patience_s=MIN_PATIENCE_S)
    answers = {name: answer for name, answer in told.items() if not isinstance(answer, GpurunError)}
    scores = {region: int(score) for region, score in answers.pop(SCORES, {}).items()}
    return {pool: value for answer in answers.values() for pool, value in answer.items()}, scores


def _work_hours(limits: Limits, found: Sequence[Offer], disk_gib: int) -> float:
    """Hours of work that are priced: all that the limits allow on the cheapest machine."""
    if limits.max_cost_usd is None or not found:
        return limits.max_hours
    cheapest = min((estimate(offer, disk_gib) for offer in found), key=lambda each: each.total_usd_per_hour)
    return min(limits.max_hours, cost.hours_for(limits.max_cost_usd, cheapest) or 0.0)
