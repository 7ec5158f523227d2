"""`gpurun schedule undeploy`: all that a deployment made, removed."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from launcher.commands import session
from launcher.commands.scheduledeploy import agreed, say
from launcher.errors import SpecError
from launcher.ledger import TickRecord, TickStatus

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.aws.durable.place import Place
    from launcher.domain import Account


def undeploy(name: str, *, everything: bool, yes: bool, as_json: bool) -> None:
    """Of a schedule in the ledger, whose history comes back here, and whose time is kept here again."""
    from launcher.commands import retrain, schedulecloud
    from launcher.schedule import deployed

    with session.ledger() as book:
        if name not in [each.name for each in book.schedules.list()]:
            raise SpecError(
                f"there is no schedule {name!r:.60} on this computer",
                hint=f"one that was deployed elsewhere: gpurun schedule undeploy {name} --store s3://BUCKET/PREFIX",
            )
        schedule = book.schedules.get(name)
        if not schedule.store.startswith("s3://"):
            raise SpecError(
                f"{name} was never deployed: its weights are kept here", hint=f"gpurun schedule show {name}"
            )
        mark = deployed.of(schedule)
        region = mark.region if mark else None
        aws, place = _found(session.account(**retrain.options(schedule)), schedule.store, region)
        _require(aws, name, schedule.store, yes=yes)
        there, _ = schedulecloud.history(schedule, 100_000) if place is not None else ((), "")
        removed = _razed(aws, name, place, everything=everything)
        now = datetime.now(UTC)
        book.schedules.renew(deployed.marked(schedule, None))
        book.schedules.considered(name, now)
        book.ticks.adopt([_ended(tick, now) for tick in there or ()])
    _tell(name, removed, "gpurun schedule daemon keeps its time here", as_json=as_json)


def unknown(name: str, store: str, account: Account, *, everything: bool, yes: bool, as_json: bool) -> None:
    """Of one that another computer deployed, or this one before it lost its ledger."""
    if not store.startswith("s3://"):
        raise SpecError(f"--store {store!r:.80}: what is deployed keeps its weights in S3", hint="s3://BUCKET/PREFIX")
    aws, place = _found(account, store, None)
    _require(aws, name, store, yes=yes)
    removed = _razed(aws, name, place, everything=everything)
    _tell(name, removed, f"gpurun weights list --store {store} has what it trained", as_json=as_json)


def _found(account: Account, store: str, region: str | None) -> tuple[Aws, Place | None]:
    """Who is asked, in the region of the weights, and where those lie; `None` where their bucket is gone.

    What fires must end without it, too: raises `SpecError` only where no region is known otherwise.
    """
    from launcher.aws.client import Aws
    from launcher.aws.durable.place import find

    aws = Aws(account, region)
    try:
        place = find(aws, store)
    except SpecError as error:
        if region is None:
            raise
        sys.stderr.write(f"warning: {error.message}; all the rest is removed\n")
        return aws, None
    return aws.at(place.region), place


def _ended(tick: TickRecord, now: datetime) -> TickRecord:
    """A tick as it is after this: one whose machine was at work was ended by it."""
    if not tick.open:
        return tick
    return replace(tick, status=TickStatus.CANCELLED, reason="ended by gpurun schedule undeploy", ended_at=now)


def _require(aws: Aws, name: str, store: str, *, yes: bool) -> None:
    """That what stands there is meant, and that its user wants it gone."""
    from launcher.deploy import raze

    raze.require_ours(aws, name, store)
    standing = raze.machines(aws, name)
    if standing:
        sys.stderr.write(f"{', '.join(standing)} of {name} will be ended in the middle of its work\n")
    agreed(f"remove {name} from {aws.region}?", yes=yes)


def _razed(aws: Aws, name: str, place: Place | None, *, everything: bool) -> list[str]:
    from launcher.deploy import raze

    removed: list[str] = []
    if not raze.stands(aws, name):
        sys.stderr.write(f"nothing of {name} stood in {aws.region}, but for what may lie in S3\n")
        raze.raze(aws, name, place, everything=everything, tell=lambda _step: None)
        return removed
    raze.raze(aws, name, place, everything=everything, tell=removed.append)
    return removed


def _tell(name: str, removed: list[str], next_step: str, *, as_json: bool) -> None:
    told = {"event": "undeployed", "name": name, "deployed": False, "removed": removed}
    text = "\n".join([*(f"removed: {each}" for each in removed), f"{name} is not deployed any more"])
    say(told, f"{text}\n  next: {next_step}", as_json=as_json)
