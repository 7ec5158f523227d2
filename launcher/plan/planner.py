"""The plan of a run: pools in order, image, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

from launcher import budget
from launcher.aws import images
from launcher.aws.client import Aws
from launcher.aws.offercache import KeptOnly, OfferCache, unanswered
from launcher.domain import Device, Image, JobSpec, NoticeCheck, Offer, Plan, SpotPolicy
from launcher.errors import GpurunError, NoCapacity
from launcher.plan import expected, freight
from launcher.plan.budget import estimate, within_budget
from launcher.plan.experience import Experience
from launcher.plan.needs import needed
from launcher.plan.ranking import rank
from launcher.plan.survey import Avoid, survey

IMAGE_MAX_AGE = timedelta(hours=6)
"""Of public parameters and of image ids; what a name or a tag means is asked each time."""


def make(
    spec: JobSpec,
    aws: Aws,
    cache: OfferCache,
    *,
    avoid: Avoid = frozenset(),
    known: Experience | None = None,
    rehearsal: bool = False,
) -> Plan:
    """Plan a run, in other pools than those to `avoid` (instance type, zone, market).

    `known` is what earlier runs tell; a `rehearsal` buys nothing, so that where EC2 cannot be asked the figures in
    this package will do. Raises `BudgetExceeded` when the budget does not buy a minute, and what `survey` and `images`
    raise.
    """
    requirements = needed(spec)
    known = known or Experience()
    surveyed = survey(spec, aws, cache, known=known, avoid=avoid, rehearsal=rehearsal)
    # The snapshot has no spot prices: on-demand ones are the most that a spot machine would cost.
    policy = SpotPolicy.ON_DEMAND if surveyed.snapshot_date else requirements.spot
    ranked = rank(surveyed.offers, policy)
    if not ranked:
        raise NoCapacity(
            f"no {policy} offer fits, though {len(surveyed.offers)} others do",
            hint="--spot prefer allows both markets; gpurun offers lists them",
        )
    best = ranked[0]
    asked = KeptOnly(cache) if best.region in surveyed.silent else cache
    others = {offer.region for offer in ranked} - {best.region} - set(surveyed.silent)
    with ThreadPoolExecutor(1 + len(others)) as pool:
        for region in sorted(others) if not rehearsal else ():
            pool.submit(_look_up_image, aws.at(region), requirements.image, best.architecture, cache)
        image = _image(aws.at(best.region), requirements.image, best.architecture, asked, rehearsal=rehearsal)
    disk_gib = max(requirements.disk_gib, image.root_size_gib)
    kept = within_budget([offer for offer in ranked if offer.architecture == best.architecture], spec.limits, disk_gib)
    dearest = max((estimate(offer, disk_gib) for offer in kept), key=lambda each: each.total_usd_per_hour)
    notice = freight.notice_check(spec, known)
    return Plan(
        offers=tuple(expected.repriced(offer, surveyed.assumptions, disk_gib) for offer in kept),
        image=image,
        cost=estimate(kept[0], disk_gib),
        dearest=dearest,
        hours=budget.hours(spec.limits, dearest),
        warnings=(*surveyed.warnings, *_warnings(spec, kept, notice, snapshot=bool(surveyed.snapshot_date))),
        assumptions=surveyed.assumptions,
        notice=notice,
        snapshot_date=surveyed.snapshot_date,
    )


def _look_up_image(aws: Aws, selector: str, architecture: str, cache: OfferCache) -> None:
    """Have another region's image known by when the search comes there; what is wrong with it is told there."""
    with suppress(GpurunError):
        images.remembered(aws, selector, cache, images.KEPT, architecture=architecture)


def _image(aws: Aws, selector: str, architecture: str, cache: OfferCache, *, rehearsal: bool) -> Image:
    try:
        if selector and not selector.startswith(("ami-", "ssm:")):
            return images.resolve(aws, selector, architecture=architecture)
        return images.remembered(aws, selector, cache, IMAGE_MAX_AGE, architecture=architecture)
    except GpurunError as error:
        if not rehearsal or not (unanswered(error) or aws.anonymous):
            raise
        return _unknown_image(aws.region, selector, architecture)


def _unknown_image(region: str, selector: str, architecture: str) -> Image:
    """Stands for what cannot be looked up now."""
    return Image(
        image_id="not looked up",
        name=selector or "the Deep Learning AMI",
        region=region,
        architecture=architecture,
        root_device="",
        root_size_gib=0,
    )


def _warnings(spec: JobSpec, kept: Sequence[Offer], notice: NoticeCheck | None, *, snapshot: bool) -> list[str]:
    best = kept[0]
    warnings = []
    if best.source == "snapshot" and not snapshot:
        warnings.append(f"prices are from a snapshot of {best.priced_at:%Y-%m-%d}: the live ones could not be read")
    if spec.device is Device.GPU and best.gpu is None:
        warnings.append(f"the job asks for a GPU and {best.instance_type} has none")
    return [*warnings, *freight.objection(notice)]
