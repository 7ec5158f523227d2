"""A deployed schedule as it is seen and steered from a laptop: its history, a launch at once, pause and resume."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from launcher.commands import session
from launcher.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.aws.client import Aws
    from launcher.ledger import Ledger, ScheduleRecord, TickRecord

BOOT = timedelta(minutes=15)
"""A machine that was to be there by then, and has said nothing, did not come."""


def history(schedule: ScheduleRecord, limit: int) -> tuple[tuple[TickRecord, ...] | None, str]:
    """The ticks that its machines wrote down, and a remark where fire times went by without one.

    `None` for a schedule that is not deployed. Raises what AWS answers.
    """
    from launcher.schedule import deployed

    if deployed.of(schedule) is None:
        return None, ""
    try:
        return _history(schedule, limit)
    except SpecError as error:  # its bucket is gone
        return (), f"{error.message}\n  next: gpurun schedule undeploy {schedule.name}"


def _history(schedule: ScheduleRecord, limit: int) -> tuple[tuple[TickRecord, ...], str]:
    with _cloud_book(schedule) as book:
        if book is None:
            return (), _silence(schedule, schedule)
        return book.ticks.list(schedule.name, limit), _silence(schedule, book.schedules.get(schedule.name))


def run_now(schedule: ScheduleRecord, *, as_json: bool) -> int:
    """Have the cloud launch its machine at once."""
    from launcher import render
    from launcher.deploy import again
    from launcher.deploy.lease import Desk

    aws, bucket, prefix = _place(schedule)
    lease, given_back = Desk(aws=aws, bucket=bucket, prefix=prefix).newest()
    if lease is not None and not given_back and lease.until > datetime.now(UTC) and _works(aws, lease.holder):
        raise SpecError(
            f"{lease.holder} is at work for {schedule.name}, until {lease.until:%H:%M:%S} UTC at most",
            hint=f"gpurun schedule history {schedule.name}",
        )
    at = again.once(aws, schedule.name, again.NOW)
    if as_json:
        render.print_json({"event": "asked", "schedule": schedule.name, "at": at})
    else:
        typer.echo(f"{schedule.name}: a machine is launched in {aws.region} at {at:%H:%M:%S} UTC")
        typer.echo(f"  next: gpurun schedule history {schedule.name}, once it has booted")
    return 0


def enable(schedule: ScheduleRecord, *, enabled: bool) -> None:
    """Have the cloud stop firing, or go on."""
    from launcher.aws import recurring
    from launcher.deploy import names

    aws = _region(schedule)
    group = names.group(schedule.name)
    found = [each["Name"] for each in recurring.found(aws, group) if each["Name"].startswith("cron-")]
    if not found:
        raise SpecError(
            f"{schedule.name} does not stand in {aws.region} any more",
            hint=f"gpurun schedule deploy {schedule.name}, or gpurun schedule undeploy {schedule.name}",
        )
    for name in found:
        recurring.enable(aws, group, name, enabled=enabled)


@contextmanager
def _cloud_book(schedule: ScheduleRecord) -> Iterator[Ledger | None]:
    """A copy of the ledger that the schedule's machines keep; `None` where there is none yet."""
    from launcher.deploy import books
    from launcher.ledger import Ledger

    aws, bucket, prefix = _place(schedule)
    with TemporaryDirectory(prefix="gpurun-schedule-") as folder:
        path = Path(folder, "ledger.db")
        if books.bring(aws, bucket, prefix, path) is None:
            yield None
            return
        with Ledger.open(path) as book:
            yield book


def _silence(schedule: ScheduleRecord, there: ScheduleRecord) -> str:
    from launcher.schedule import deployed, engine

    mark = deployed.of(schedule)
    if mark is None or schedule.paused:
        return ""
    cron, until = engine.cron_of(schedule), datetime.now(UTC) - BOOT
    since = max(there.considered_at, datetime.fromisoformat(mark.at))
    count = cron.count(since, until) if since < until else 0
    if not count:
        return ""
    times = "fire time has" if count == 1 else "fire times have"
    return (
        f"{count} {times} passed since {cron.local(since):%Y-%m-%d %H:%M} and no machine has told anything: no spot "
        f"capacity, or it cannot boot\n  next: gpurun schedule run-now {schedule.name}, or look at {mark.uri}/boots/"
    )


def _works(aws: Aws, holder: str) -> bool:
    """Whether a holder of a lease is a machine that lives."""
    from launcher.aws import instances

    found = instances.describe(aws, holder) if holder.startswith("i-") else None
    return found is not None and not found.gone


def _region(schedule: ScheduleRecord) -> Aws:
    """The account where the schedule stands; its bucket may be gone."""
    from launcher.aws.client import Aws
    from launcher.commands import retrain
    from launcher.schedule import deployed

    mark = deployed.of(schedule)
    return Aws(session.account(**retrain.options(schedule)), mark.region if mark else None)


def _place(schedule: ScheduleRecord) -> tuple[Aws, str, str]:
    """The account in the schedule's region, the bucket, and the prefix of the schedule's folder."""
    from launcher.aws.client import Aws
    from launcher.aws.durable.place import find
    from launcher.commands import retrain
    from launcher.deploy.deployment import folder_prefix

    aws = Aws(session.account(**retrain.options(schedule)))
    place = find(aws, schedule.store)
    return aws.at(place.region), place.bucket, folder_prefix(place, schedule.name)
