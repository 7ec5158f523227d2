"""`gpurun schedule deploy`: the time kept in the cloud, with this computer off."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import typer

from launcher.commands import session
from launcher.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.aws.client import Aws
    from launcher.deploy.deployment import Deployment
    from launcher.ledger import Ledger
    from launcher.ports import Reporter


def deploy(name: str, *, only_print: bool, yes: bool, as_json: bool) -> None:
    """Show all that will stand in the account, ask, make it, and have this computer keep the time no more."""
    with (
        session.ledger() as book,
        session.reporter(as_json=as_json) as reporter,
        _planned(book, name, reporter) as plan,
    ):
        aws, wanted = plan
        if only_print:
            _print_all(wanted, as_json=as_json)
            return
        if not as_json:
            typer.echo(_text(wanted))
        _warn_of_another(book, aws, wanted)
        _require_quiet(book, wanted)
        agreed("deploy it?", yes=yes)
        _stand(book, aws, wanted, reporter)
        told = {
            "event": "deployed",
            "name": name,
            "deployed": True,
            "region": wanted.whose.region,
            "folder": wanted.uri,
        }
        say(
            told,
            f"{name} is deployed: it fires with this computer off\n"
            f"  next: gpurun schedule run-now {name}, gpurun schedule history {name}, gpurun schedule undeploy {name}",
            as_json=as_json,
        )


@contextmanager
def _planned(book: Ledger, name: str, reporter: Reporter) -> Iterator[tuple[Aws, Deployment]]:
    """The deployment, with its archives in a folder that is gone afterwards."""
    from launcher.aws.client import Aws
    from launcher.commands import launch, retrain
    from launcher.deploy import deployment

    schedule = book.schedules.get(name)
    if schedule.place != "aws":
        raise SpecError(f"{name} runs on {schedule.place}; what is deployed runs on AWS", hint="add it without --on")
    spec = launch.read_spec(schedule.spec, [], {})
    aws = Aws(session.account(**retrain.options(schedule)))
    fresh = replace(schedule, considered_at=datetime.now(UTC))
    with TemporaryDirectory(prefix="gpurun-deploy-") as folder:
        yield aws, deployment.make(fresh, spec, aws, book.cache, folder=Path(folder), reporter=reporter)


def _warn_of_another(book: Ledger, aws: Aws, wanted: Deployment) -> None:
    """One that another computer deployed, with the same store, would be replaced."""
    from launcher.aws import recurring
    from launcher.deploy import names
    from launcher.schedule import deployed

    if deployed.of(book.schedules.get(wanted.name)) is None:
        there = recurring.group_tags(aws.at(wanted.whose.region), names.group(wanted.name))
        if there is not None:
            sys.stderr.write(f"warning: {wanted.name} stands there already; this one takes its place\n")


def _require_quiet(book: Ledger, wanted: Deployment) -> None:
    """No run of it may go on here while its time begins to be kept elsewhere."""
    open_here = [tick for tick in book.ticks.unfinished() if tick.schedule == wanted.name]
    if open_here:
        raise SpecError(
            f"a run of {wanted.name} goes on here: {open_here[0].run_id or 'its launch begins'}",
            hint=f"gpurun schedule history {wanted.name}; deploy it when that is over",
        )


def _stand(book: Ledger, aws: Aws, wanted: Deployment, reporter: Reporter) -> None:
    """Write down that it is deployed, then make it: of a break in between `undeploy` finds all there is."""
    from launcher.deploy import books, raze, stand
    from launcher.deploy.lease import Desk
    from launcher.schedule import deployed

    raze.require_ours(aws.at(wanted.whose.region), wanted.name, wanted.schedule.store)
    mark = deployed.Deployed(
        region=wanted.whose.region, at=datetime.now(UTC).isoformat(timespec="seconds"), uri=wanted.uri
    )
    book.schedules.renew(deployed.marked(book.schedules.get(wanted.name), mark))
    aws = aws.at(wanted.whose.region)
    desk = Desk(aws=aws, bucket=wanted.place.bucket, prefix=wanted.prefix)
    busy = books.merge(desk, wanted.schedule, book.ticks.list(wanted.name, 100_000), datetime.now(UTC))
    if busy is not None:
        reporter.note(f"{busy.holder} is at work for {wanted.name}; what it does is done as it was deployed before")
    stand.stand(aws, wanted, reporter.note, lambda _sent: None)


def agreed(question: str, *, yes: bool) -> None:
    """Ask, unless that was answered before; raises `SpecError` where nobody is there."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise SpecError("nobody is there to be asked", hint="--yes does it without asking, --print only shows it")
    if not typer.confirm(question, default=False):
        raise typer.Exit(130)


def _text(wanted: Deployment) -> str:
    """What will stand, for people."""
    from launcher.deploy import stand

    rows = [f"  {kind:<22} {name}" for kind, name, _ in stand.parts(wanted)]
    pools = ", ".join(dict.fromkeys(offer.instance_type for offer in wanted.offers))
    best = wanted.offers[0]
    lines = [
        f"{wanted.name} in {wanted.whose.region}, account {wanted.whose.account_id}:",
        *rows,
        f"fires {' and '.join(wanted.expressions)}, {wanted.schedule.zone}",
        f"machines: {best.market} {pools}, image {wanted.image.name or wanted.image.image_id}",
        f"each lives {wanted.hours:.1f} h and costs {wanted.max_cost_usd:.2f} USD at most",
        *(f"note: {each}" for each in wanted.notes),
        *(f"warning: {each}" for each in wanted.warnings),
    ]
    return "\n".join(lines)


def _print_all(wanted: Deployment, *, as_json: bool) -> None:
    from launcher import render
    from launcher.deploy import stand

    parts = [{"kind": kind, "name": name, "content": _readable(content)} for kind, name, content in stand.parts(wanted)]
    if as_json:
        render.print_json({"name": wanted.name, "region": wanted.whose.region, "parts": parts}, indent=1)
        return
    typer.echo(_text(wanted))
    for part in parts:
        typer.echo(f"\n{part['kind']} {part['name']}\n{json.dumps(part['content'], indent=2, default=str)}")


def _readable(content: dict[str, Any]) -> dict[str, Any]:
    """User-data and a schedule's input as what they say, not as they travel."""
    from base64 import b64decode

    told = dict(content)
    if "UserData" in told:
        told["UserData"] = b64decode(told["UserData"]).decode().splitlines()
    if "Target" in told:
        told["Target"] = {**told["Target"], "Input": json.loads(told["Target"]["Input"])}
    return told


def say(told: dict[str, Any], text: str, *, as_json: bool) -> None:
    """To people, or to programs."""
    from launcher import render

    if as_json:
        render.print_json(told)  # one line, as the reporter's before it
    else:
        typer.echo(text)
