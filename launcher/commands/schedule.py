"""`gpurun schedule`: training again by the clock, or on new data."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.commands import options, scheduleinstall, schedulestand, session
from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.ledger import Ledger, ScheduleRecord, TickRecord
    from launcher.schedule.engine import Hands

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Train again by the clock, or when data is new.",
)

Name = Annotated[str, typer.Argument(help="A schedule's name.", metavar="NAME")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for what was started; exit 1 unless all of it succeeded.")]


@app.command()
def add(
    name: Name,
    spec: Annotated[str, typer.Argument(help="The spec to launch.", metavar="SPEC")],
    *,
    cron: Annotated[str | None, typer.Option(help='Five fields, such as "0 3 * * 1".', metavar="ENTRY")] = None,
    tz: Annotated[str | None, typer.Option(help="Of the entry; default: this machine's.", metavar="ZONE")] = None,
    on_data_change: Annotated[
        str | None,
        typer.Option(help="Also when this file, folder or s3:// prefix holds something new.", metavar="PLACE"),
    ] = None,
    missed: Annotated[
        str, typer.Option(help="run-once: make up for missed fire times by one run; skip: do not.")
    ] = "run-once",
    store: Annotated[
        str | None, typer.Option(help="For the weights; default: $GPURUN_WEIGHTS, else ./weights.", metavar="PLACE")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Promote by this number of the run's evaluation: test_error.", metavar="NAME")
    ] = None,
    better: Annotated[str | None, typer.Option(help="lower (the default) or higher.", metavar="WHICH")] = None,
    min_gain: Annotated[
        str | None, typer.Option(help="By so much: 0.1% of the champion's value, or 0.001.", metavar="GAIN")
    ] = None,
    canary: Annotated[
        int | None, typer.Option(help="Promote the last of so many good retrains in a row.", min=1, max=1000)
    ] = None,
    warm_start: Annotated[
        str | None, typer.Option(help="champion: training begins with its weights.", metavar="WHICH")
    ] = None,
    notify: Annotated[
        list[str] | None,
        typer.Option(help="Tell this address of apprise what became of it; again for more.", metavar="URL"),
    ] = None,
    on: options.On = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check it all and show when it fires; add nothing.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Make a schedule: its launches ask nobody, within the spec's limits."""
    from launcher import render
    from launcher.commands import keeperview, scheduleview, schedulewish
    from launcher.schedule.timer.keeping import keeping

    now = datetime.now(UTC)
    record = schedulewish.checked(
        name=name,
        spec=spec,
        cron=cron,
        tz=tz,
        data=on_data_change,
        missed=missed,
        store=store,
        promotion=schedulewish.promotion(metric, better, min_gain, canary, warm_start),
        notify=tuple(notify or ()),
        on=on,
        sandbox=sandbox,
        profile=profile,
        now=now,
    )
    if not dry_run:
        with session.ledger() as book:
            book.schedules.add(record)
    times = scheduleview.next_times(record, now)
    if as_json:
        render.print_json({"name": name, "added": not dry_run, "next": times}, indent=1)
        return
    typer.echo(f"{name} {'would fire' if dry_run else 'fires'}" + (":" if times else " on new data"))
    if times:
        typer.echo(scheduleview.fires_text(times))
    if not dry_run:
        typer.echo(keeperview.after_add(keeping(session.state()), now))


@app.command(name="list")
def list_(*, as_json: options.Json = False) -> None:
    """List schedules: when each is due, and what came of it the last time."""
    from launcher import render
    from launcher.commands import keeperview, scheduleview
    from launcher.schedule import deployed
    from launcher.schedule.timer.keeping import keeping

    now = datetime.now(UTC)
    with session.ledger() as book:
        if as_json:
            kept = keeperview.as_json(keeping(session.state()))
            each = [scheduleview.as_json(book, schedule, now) | kept for schedule in book.schedules.list()]
            render.print_json(each, indent=1)
        else:
            typer.echo(scheduleview.table(book, now))
            if any(deployed.of(each) is None for each in book.schedules.list()):
                typer.echo(keeperview.text(keeping(session.state()), now))


@app.command()
def show(name: Name, *, as_json: options.Json = False) -> None:
    """Show a schedule, its next five fire times and its last ticks."""
    from launcher import render
    from launcher.commands import keeperview, schedulecloud, scheduleview
    from launcher.schedule import deployed
    from launcher.schedule.timer.keeping import keeping

    now = datetime.now(UTC)
    with session.ledger() as book:
        schedule = book.schedules.get(name)
        there, silence = schedulecloud.history(schedule, scheduleview.LAST)
        ticks = there if there is not None else book.ticks.list(name, scheduleview.LAST)
        if as_json:
            kept = keeperview.as_json(keeping(session.state()))
            render.print_json(scheduleview.as_json(book, schedule, now) | kept, indent=1)
        else:
            here = deployed.of(schedule) is None
            keeper = f"\n\n{keeperview.text(keeping(session.state()), now)}" if here else ""
            typer.echo(f"{scheduleview.one(schedule, ticks, now)}{keeper}")
    _warn(silence)


@app.command()
def history(
    name: Name,
    *,
    limit: Annotated[int, typer.Option(help="So many of the last ticks.", min=1, max=100_000)] = 50,
    as_json: options.Json = False,
) -> None:
    """List when it was due, and what came of it."""
    from launcher import render
    from launcher.commands import schedulecloud, scheduleview

    with session.ledger() as book:
        schedule = book.schedules.get(name)
        there, silence = schedulecloud.history(schedule, limit)
        ticks = there if there is not None else book.ticks.list(name, limit)
    if as_json:
        render.print_json([scheduleview.tick_json(each) for each in ticks], indent=1)
    else:
        typer.echo(scheduleview.history(schedule, ticks))
    _warn(silence)


@app.command()
def pause(name: Name) -> None:
    """Stop launching; what is due meanwhile was not missed."""
    _pause(name, paused=True)
    typer.echo(f"{name} is paused; gpurun schedule resume {name} goes on")


@app.command()
def resume(name: Name) -> None:
    """Go on with a paused schedule."""
    _pause(name, paused=False)
    typer.echo(f"{name} goes on")


@app.command()
def remove(name: Name) -> None:
    """Forget a schedule and its history; runs and weights stay."""
    from launcher.schedule import deployed

    with session.ledger() as book:
        if deployed.of(book.schedules.get(name)) is not None:
            raise SpecError(f"{name} is deployed", hint=f"gpurun schedule undeploy {name} first")
        book.schedules.remove(name)
    typer.echo(f"{name} is removed; its runs and weights stay")


@app.command(name="run-now")
def run_now(name: Name, *, wait: Wait = False, as_json: options.Json = False) -> int:
    """Launch a schedule's run at once, whatever the clock says."""
    from launcher.commands import schedulecloud
    from launcher.ledger import TickStatus
    from launcher.schedule import deployed, engine

    children: list[subprocess.Popen[bytes]] = []
    with session.ledger() as book:
        schedule = book.schedules.get(name)
        if deployed.of(schedule) is not None:
            return schedulecloud.run_now(schedule, as_json=as_json)
        tick = engine.run_now(book, schedule, datetime.now(UTC), _hands(book, children))
        if tick is None or tick.status is TickStatus.SKIPPED:
            why = tick.reason if tick else "another process took this moment"
            raise SpecError(f"{name} was not launched: {why}", hint=f"gpurun schedule history {name}")
        return _told(book, (tick,), children, wait=wait, as_json=as_json)


@app.command(name="run-due")
def run_due(
    *,
    wait: Wait = False,
    alone: Annotated[bool, typer.Option("--alone", help="Do nothing while another such pass goes on.")] = False,
    as_json: options.Json = False,
) -> int:
    """Launch what is due, once; for a timer or a crontab of your own."""
    from launcher.schedule import engine
    from launcher.schedule.timer import keeping

    children: list[subprocess.Popen[bytes]] = []
    with session.ledger() as book, keeping.one_pass(session.state()) if alone else nullcontext(True) as free:
        if not free:
            return 0
        ticks = engine.run_due(book, datetime.now(UTC), _hands(book, children))
        _tell_misfortunes(book, ticks)
        return _told(book, ticks, children, wait=wait, as_json=as_json)


@app.command()
def daemon(*, as_json: options.Json = False) -> None:
    """Keep the time in the foreground and launch what is due; Ctrl-C ends it, its runs go on."""
    from launcher.schedule import daemon as ticking
    from launcher.schedule import engine

    children: list[subprocess.Popen[bytes]] = []
    with ticking.alone(ticking.lock(session.state())), ticking.ending() as sleep, session.ledger() as book:
        if not as_json:
            typer.echo(f"keeping the time for {len(book.schedules.list())} schedules; Ctrl-C ends this, runs go on")
        while True:
            passed = datetime.now(UTC)
            ticks = engine.run_due(book, passed, _hands(book, children))
            _print(ticks, as_json=as_json)
            _tell_misfortunes(book, ticks)
            children[:] = [child for child in children if child.poll() is None]
            wakes = ticking.wakes_at(book, passed)
            if sleep(max(0.0, (wakes - datetime.now(UTC)).total_seconds())):
                return


app.command()(scheduleinstall.install)
app.command()(scheduleinstall.uninstall)
app.command()(schedulestand.deploy)
app.command()(schedulestand.undeploy)
app.command(hidden=True)(schedulestand.fire)


@app.command(hidden=True)
def attend(tick_id: int, token: str) -> int:
    """What the process of one tick is started as."""
    from launcher.commands import retrain

    return retrain.attend(tick_id, token)


def _hands(book: Ledger, children: list[subprocess.Popen[bytes]]) -> Hands:
    from launcher.commands import retrain
    from launcher.schedule import worker
    from launcher.schedule.engine import Hands

    def start(schedule: ScheduleRecord, tick: TickRecord) -> None:
        children.append(worker.start(session.state(), book, schedule, tick))

    def trouble(text: str) -> None:
        sys.stderr.write(f"warning: {text}\n")

    return Hands(start=start, cloud=retrain.cloud, trouble=trouble)


def _tell_misfortunes(book: Ledger, ticks: tuple[TickRecord, ...]) -> None:
    """What became of a run is told by its own process; what never got one is told here."""
    from launcher.schedule import notice

    for trouble in notice.tell_misfortunes(book.schedules.list(), ticks) if ticks else ():
        sys.stderr.write(f"warning: {trouble}\n")


def _told(
    book: Ledger, ticks: tuple[TickRecord, ...], children: list[subprocess.Popen[bytes]], *, wait: bool, as_json: bool
) -> int:
    """Say what was begun, or with `--wait` what came of it; gives the exit status."""
    from launcher.ledger import TickStatus

    if wait:
        for child in children:
            child.wait()
        ticks = tuple(book.ticks.get(tick.tick_id) for tick in ticks)
    else:
        for child in children:
            child.returncode = 0  # it goes on by itself: without this Popen complains that it was not waited for
    _print(ticks, as_json=as_json)
    if not as_json and any(tick.open for tick in ticks):
        typer.echo("  next: gpurun schedule history NAME, gpurun logs RUN -f")
    good = {TickStatus.SUCCEEDED, TickStatus.SKIPPED, TickStatus.MISSED}
    return 1 if wait and any(tick.status not in good for tick in ticks) else 0


def _print(ticks: tuple[TickRecord, ...], *, as_json: bool) -> None:
    from launcher import render
    from launcher.commands import scheduleview

    for tick in ticks:
        if as_json:
            render.print_json({"event": "tick", **scheduleview.tick_json(tick)})
        else:
            typer.echo(scheduleview.told(tick))


def _warn(text: str) -> None:
    if text:
        sys.stderr.write(f"warning: {text}\n")


def _pause(name: str, *, paused: bool) -> None:
    from launcher.commands import schedulecloud
    from launcher.schedule import deployed

    with session.ledger() as book:
        schedule = book.schedules.get(name)
        if deployed.of(schedule) is not None:
            schedulecloud.enable(schedule, enabled=not paused)
        book.schedules.pause(name, paused=paused, now=datetime.now(UTC))
