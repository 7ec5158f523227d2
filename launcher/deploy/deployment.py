"""A deployment, planned: everything that is to stand in the account, before any of it is made."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher import plan as planning
from launcher.aws import baked, fleet, network, recurring
from launcher.aws import tags as tagging
from launcher.aws.durable.place import Place, find
from launcher.aws.storage import parts
from launcher.aws.template import FleetRequest, template_data
from launcher.deploy import boot, bundle, expressions, names, permits
from launcher.domain import TAG_NAME, TAG_RUN, Image, JobSpec, Market, Offer, SpotPolicy
from launcher.errors import BudgetExceeded, SpecError
from launcher.owner import TAG_OWNER
from launcher.plan.budget import estimate
from launcher.prepare import Luggage, pack
from launcher.registry import code as pedigree
from launcher.schedule import deployed, engine, wish
from launcher.spec import dump

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.aws.client import Aws
    from launcher.ledger import OfferCache, ScheduleRecord
    from launcher.ports import Reporter

_TAG_VALUE = re.compile(r"[\w +=.,:/@-]{1,256}")
"""IAM User Guide, "Rules for tagging in IAM and AWS STS"."""
UNKNOWN = "TEMPLATE_ID"
"""What stands for the launch template's id before there is one."""
FEWEST_HOURS = 0.2
"""A machine that ends sooner has hardly booted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What is to stand: one region, one bucket, machines of one market."""

    schedule: ScheduleRecord
    whose: permits.Whose
    place: Place
    """Of the weights; the schedule's own folder lies below it."""
    expressions: tuple[str, ...]
    image: Image
    offers: tuple[Offer, ...]
    subnets: Mapping[str, str]
    hours: float
    """How long a machine lives at most."""
    max_cost_usd: float
    """Of one tick, whatever spot prices do."""
    weights: str
    """The name that they are kept under."""
    data: tuple[str, str] | None
    """Bucket and prefix of data that lies in S3."""
    packs: tuple[bundle.Pack, ...]
    request: FleetRequest
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """The schedule's."""
        return self.schedule.name

    @property
    def prefix(self) -> str:
        """The schedule's folder, as keys in the bucket begin."""
        return folder_prefix(self.place, self.name)

    @property
    def uri(self) -> str:
        """The schedule's folder."""
        return f"s3://{self.place.bucket}/{self.prefix}".rstrip("/")

    @property
    def template(self) -> str:
        """The launch template's name, which tells its content."""
        data = json.dumps(template_data(self.request), sort_keys=True)
        return names.template(self.name, hashlib.sha256(data.encode()).hexdigest())

    def schedules(self, template_id: str) -> list[recurring.Recurring]:
        """What fires."""
        return [
            recurring.Recurring(
                group=names.group(self.name),
                name=f"cron-{number}",
                expression=expression,
                zone=self.schedule.zone,
                role_arn=self.whose.role(names.launch_role(self.name, self.whose.region)),
                fleet=self.fleet(template_id),
                enabled=not self.schedule.paused,
            )
            for number, expression in enumerate(self.expressions, 1)
        ]

    def fleet(self, template_id: str) -> dict[str, Any]:
        """What CreateFleet is asked for each time; Scheduler fills in the time and the token."""
        asked: dict[str, Any] = {**fleet.call(self.request, self.template, self.offers)}
        (config,) = asked["LaunchTemplateConfigs"]
        config["LaunchTemplateSpecification"] = {"LaunchTemplateId": template_id, "Version": "1"}
        # All of them: AWS does not say that a template's tags stay where a request has some of its own.
        own = {**self.request.tags, TAG_RUN: self.request.run_id}
        told = {**own, names.TAG_TICK: recurring.SCHEDULED_TIME, names.TAG_CAUSE: "cron"}
        asked["TagSpecifications"] = [
            *asked["TagSpecifications"],
            {"ResourceType": "instance", "Tags": tagging.to_list(told)},
        ]
        return asked


def folder_prefix(place: Place, name: str) -> str:
    """How the keys of a schedule's own folder begin."""
    return f"{place.prefix}/{names.FOLDER}/{name}/".lstrip("/")


def make(
    schedule: ScheduleRecord, spec: JobSpec, aws: Aws, cache: OfferCache, *, folder: Path, reporter: Reporter
) -> Deployment:
    """Plan it and pack what goes to S3 into `folder`; nothing is made in the account.

    Raises `SpecError` for a schedule that cannot do without this computer, and what planning raises.
    """
    _require_deployable(schedule, spec)
    found = expressions.of(engine.cron_of(schedule))
    place = find(aws, schedule.store)
    aws = aws.at(place.region)
    identity = aws.identity()
    whose = permits.Whose(
        name=schedule.name,
        region=place.region,
        account_id=identity.account_id,
        partition=identity.arn.split(":")[1],
    )
    image = spec.resources.image or _baked(aws, spec.resources.architecture)
    narrowed = replace(spec, resources=replace(spec.resources, regions=(place.region,), image=image))
    chosen = planning.make(narrowed, aws, cache)
    offers = _of_one_market(chosen.offers, spec.resources.spot)
    hours, max_cost_usd = _bounds(spec, offers, max(spec.resources.disk_gib, chosen.image.root_size_gib))
    luggage = pack(spec, lambda: aws)
    for name, why in luggage.skipped:
        reporter.warn(f"not uploaded: {name}: {why}")
    packs = _packed(schedule, spec, luggage, whose, place, hours, folder)
    subnets = network.default_subnets(aws, [offer.zone for offer in offers])
    reachable = tuple(offer for offer in offers if offer.zone in subnets)
    user_data = _user_data(aws, schedule, place, packs, hours)
    return Deployment(
        schedule=schedule,
        whose=whose,
        place=place,
        expressions=found,
        image=chosen.image,
        offers=reachable,
        subnets=subnets,
        hours=hours,
        max_cost_usd=max_cost_usd,
        weights=spec.name,
        data=parts(spec.data) if isinstance(spec.data, str) else None,
        packs=packs,
        request=_request(schedule, spec, chosen.image, reachable, subnets, user_data, hours),
        warnings=chosen.warnings,
        notes=_notes(schedule, spec, chosen.offers, offers, image),
    )


def _require_deployable(schedule: ScheduleRecord, spec: JobSpec) -> None:
    if not schedule.cron:
        raise SpecError(
            f"{schedule.name} waits for new data alone; what is deployed fires by the clock", hint="add it with --cron"
        )
    if not schedule.store.startswith("s3://"):
        raise SpecError(
            f"the weights of {schedule.name} are kept in {schedule.store}, which no machine of AWS can reach",
            hint="add it with --store s3://BUCKET/PREFIX; gpurun schedule remove first",
        )
    if not _TAG_VALUE.fullmatch(schedule.store):
        raise SpecError(
            f"--store {schedule.store!r:.80} has characters that no tag of IAM may have, or over 256",
            hint="letters, digits, spaces and + - = . , _ : / @ alone",
        )
    if spec.secrets:
        raise SpecError(
            f"secrets: {', '.join(spec.secrets)} are told by this computer at each launch, which a deployed schedule "
            "does without",
            hint="leave them out of the spec; the job can read AWS Secrets Manager by a role of your own",
        )
    if spec.legs:
        raise SpecError("a comparison of ways to execute is not retrained", hint="a spec without compare:")


def _baked(aws: Aws, architecture: str) -> str:
    """The newest image that gpurun baked here; empty where there is none."""
    ready = [each for each in baked.find(aws) if each.ready and each.architecture == (architecture or "x86_64")]
    return max(ready, key=lambda each: each.created_at).image_id if ready else ""


def _of_one_market(offers: tuple[Offer, ...], policy: SpotPolicy) -> tuple[Offer, ...]:
    """A fleet asks one market: spot, wherever the spec allows it and there is any."""
    spot = tuple(offer for offer in offers if offer.market is Market.SPOT)
    return spot if spot and policy is not SpotPolicy.ON_DEMAND else offers


def _bounds(spec: JobSpec, offers: tuple[Offer, ...], disk_gib: int) -> tuple[float, float]:
    """How long a machine may live, and what it costs at most: nobody watches spot prices while it runs."""
    limits = spec.limits
    dearest_usd = max(
        estimate(replace(offer, price_usd_per_hour=_ceiling_usd(offer, spec)), disk_gib).total_usd_per_hour
        for offer in offers
    )
    hours = (
        limits.max_hours if limits.max_cost_usd is None else min(limits.max_hours, limits.max_cost_usd / dearest_usd)
    )
    if hours < FEWEST_HOURS:
        raise BudgetExceeded(
            f"max_cost buys {hours * 60:.0f} minutes at {dearest_usd:.3f} USD an hour, the most that spot may cost",
            hint="raise limits.max_cost, or set limits.max_price",
        )
    return hours, hours * dearest_usd


def _ceiling_usd(offer: Offer, spec: JobSpec) -> float:
    """Spot costs no more than asked for, and that is the on-demand price where nothing else is said."""
    cap = spec.limits.max_price_usd_per_hour
    if offer.market is not Market.SPOT:
        return offer.price_usd_per_hour
    return min(each for each in (cap, offer.on_demand_usd_per_hour or offer.price_usd_per_hour) if each is not None)


def _packed(
    schedule: ScheduleRecord,
    spec: JobSpec,
    luggage: Luggage,
    whose: permits.Whose,
    place: Place,
    hours: float,
    folder: Path,
) -> tuple[bundle.Pack, ...]:
    known, asked = pedigree.take(luggage.code), _as_asked(schedule)
    told = {
        "name": schedule.name,
        "region": whose.region,
        "bucket": place.bucket,
        "prefix": folder_prefix(place, schedule.name),
        "hours": hours,
    }
    times = {key: value.isoformat() for key, value in asdict(asked).items() if isinstance(value, datetime)}
    texts = {
        "deployed.json": json.dumps(told, sort_keys=True).encode(),
        "schedule.json": json.dumps({**asdict(asked), **times}, sort_keys=True).encode(),
        "spec.json": dump(spec).encode(),
        "code.json": pedigree.text(known).encode(),
    }
    found = [bundle.program(folder), bundle.work(folder, luggage.code, texts)]
    return (*found, bundle.data(folder, luggage.data)) if luggage.data is not None else tuple(found)


def _as_asked(schedule: ScheduleRecord) -> ScheduleRecord:
    """Without what it has come to, which its ledger knows: deployed again unchanged it is the same to the byte."""
    return replace(
        deployed.marked(schedule, None),
        paused=False,
        considered_at=schedule.created_at,
        data_looked_at=schedule.created_at,
        data_sha256="",
        data_seen="",
        data_changing="",
    )


def _user_data(aws: Aws, schedule: ScheduleRecord, place: Place, packs: tuple[bundle.Pack, ...], hours: float) -> str:
    prefix = folder_prefix(place, schedule.name)
    return boot.user_data(
        hours=hours,
        bucket=place.bucket,
        folder=prefix,
        packs={pack.name: (prefix + pack.file_name, pack.sha256) for pack in packs},
        environment={
            "AWS_DEFAULT_REGION": place.region,
            "AWS_REGION": place.region,
            "LOGNAME": names.run_id(schedule.name),  # who promoted something, in the registry's history
            **aws.endpoint_variables,
        },
        notices=bool(wish.notify(schedule)),
    )


def _request(
    schedule: ScheduleRecord,
    spec: JobSpec,
    image: Image,
    offers: tuple[Offer, ...],
    subnets: Mapping[str, str],
    user_data: str,
    hours: float,
) -> FleetRequest:
    name = schedule.name
    return FleetRequest(
        run_id=names.run_id(name),
        token=names.token(name, recurring.SCHEDULED_TIME),
        image=image,
        offers=offers,
        subnets=subnets,
        user_data=user_data,
        disk_gib=spec.resources.disk_gib,
        max_price_usd_per_hour=spec.limits.max_price_usd_per_hour,
        tags={
            TAG_NAME: spec.name,
            TAG_OWNER: names.owner(name),
            tagging.TAG_HOURS: f"{hours:.2f}",
            "Name": f"gpurun schedule {name}",
            **names.tags(name, schedule.store),
        },
        profile=names.machine_role(name, offers[0].region),
    )


def _notes(
    schedule: ScheduleRecord, spec: JobSpec, offers: tuple[Offer, ...], chosen: tuple[Offer, ...], image: str
) -> tuple[str, ...]:
    found = []
    if not image:
        found.append("no image is baked in this region: each machine installs what the launcher needs; gpurun ami bake")
    if isinstance(spec.data, Path):
        found.append(f"the data goes along as it is now, from {spec.data}; deploy again to renew it, or keep it in S3")
    if schedule.data:
        found.append("new data is looked for when the clock fires, and at no other time")
    if len(chosen) < len(offers):
        found.append("spot alone: a tick that finds no spot machine is missed, and told at the next one")
    if wish.notify(schedule):
        found.append("the addresses of --notify, secrets in them, go to the bucket with the schedule")
    return tuple(found)
