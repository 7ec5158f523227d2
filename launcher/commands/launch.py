"""`gpurun launch`."""

from __future__ import annotations

import sys
import threading
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from launcher.commands import options, own, planning, session
from launcher.errors import PriceTooHigh, SpecError

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.domain import Account, JobSpec, Plan
    from launcher.ledger import Ledger
    from launcher.places.address import Address
    from launcher.plan import Experience
    from launcher.ports import Reporter

WAIT_S = 24 * 3600.0
"""How long `--wait` waits."""
FIRST_PRICES_S = 30.0
LAST_PRICES_S = 300.0
"""Prices are kept for some minutes: to look oftener shows nothing new."""
_SPEC_SUFFIXES = {".yaml", ".yml"}


def command(
    target: Annotated[str, typer.Argument(help="A spec, or a bare script.", metavar="SPEC|SCRIPT")] = "gpurun.yaml",
    arguments: Annotated[list[str] | None, typer.Argument(help="After --: arguments of the script.")] = None,
    *,
    on: options.On = None,
    accept_host_key: options.AcceptHostKey = None,
    sandbox: options.Sandbox = False,
    yes: options.Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and price, launch nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Keep trying until there is a machine, for a day.")] = False,
    wait_for: Annotated[str | None, typer.Option(help="Keep trying for so long, such as 90m or 6h.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Leave once the job runs.")] = False,
    as_json: options.Json = False,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    data: Annotated[str | None, typer.Option(help="File, folder or s3:// URI for the job.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or gpu.")] = None,
    floatx: Annotated[str | None, typer.Option(help="float16, bfloat16, float32 or float64.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the job; repeatable.")] = None,
    instance_type: Annotated[list[str] | None, typer.Option(help="Allowed type; repeatable.")] = None,
    gpu: Annotated[str | None, typer.Option(help="Kind and count, such as t4 or a10g:2.")] = None,
    architecture: Annotated[str | None, typer.Option(help="x86_64 or arm64.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="Allowed region; repeatable; all: every one.")] = None,
    zone: Annotated[list[str] | None, typer.Option(help="Allowed zone; repeatable.")] = None,
    spot: Annotated[str | None, typer.Option(help="true, false or prefer.")] = None,
    image: Annotated[str | None, typer.Option(help="ami-..., name:PATTERN, tag:KEY=VALUE or ssm:/PATH.")] = None,
    disk: Annotated[str | None, typer.Option(help="Root disk, such as 100 GiB.")] = None,
    max_hours: Annotated[float | None, typer.Option(help="The machine ends after so many hours.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="US dollars for the whole run.")] = None,
    max_price: Annotated[float | None, typer.Option(help="US dollars per hour for a machine.")] = None,
    outputs: Annotated[
        str | None, typer.Option(help="Where results go: a folder, or s3://BUCKET/PREFIX; default runs/<id>/.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Your own private key; default: one per run.")] = None,
    checkpoint_size: options.CheckpointSize = None,
    boot_timeout: options.BootTimeout = 240,
    lost_after: options.LostAfter = 300,
    profile: options.Profile = None,
) -> int:
    """Run a spec or a script on the cheapest machine that fits, or on your own, and bring its results home.

    \b
    gpurun launch                          the spec gpurun.yaml
    gpurun launch train.py -- --epochs 20  a bare script with its arguments
    gpurun launch --on ssh://me@box        on a machine of your own
    """
    began = datetime.now(UTC)
    changes = {
        "name": name,
        "data": data,
        "device": device,
        "floatx": floatx,
        "env": env,
        "instance_types": instance_type,
        "gpu": gpu,
        "architecture": architecture,
        "regions": region,
        "zones": zone,
        "spot": spot,
        "image": image,
        "disk": disk,
        "max_hours": max_hours,
        "max_cost": max_cost,
        "max_price": max_price,
        "outputs": outputs,
        "key": key,
    }
    own_machine = own.address(
        on,
        {
            "--sandbox": sandbox,
            "--profile": profile,
            "--instance-type": instance_type,
            "--gpu": gpu,
            "--architecture": architecture,
            "--region": region,
            "--zone": zone,
            "--spot": spot,
            "--image": image,
            "--disk": disk,
            "--wait": wait,
            "--wait-for": wait_for,
        },
    )
    if accept_host_key and (own_machine is None or own_machine.here):
        raise SpecError("--accept-host-key is for --on ssh://...", hint="leave it out")
    # paramiko and the rest load while the plan waits for AWS: half a second that nobody has to see.
    threading.Thread(target=import_module, args=("launcher.runs",), daemon=True).start()
    spec = read_spec(target, arguments or [], changes)
    if own_machine is not None:
        return _launch_own(
            spec,
            own_machine,
            began=began,
            accept_host_key=accept_host_key,
            dry_run=dry_run,
            attendance=_Attendance(detach, boot_timeout, lost_after, as_json),
        )
    account = session.account(sandbox=sandbox, profile=profile, region=planning.home_region(region))
    from launcher import outputs as outputs_in_s3
    from launcher import prepare

    with session.ledger() as book, session.reporter(as_json=as_json) as reporter:
        prepare.check_key(spec, reporter)
        known = planning.known(book, account, spec.name, checkpoint_size)
        wait_s = _patience_s(wait, wait_for)
        aws = planning.cloud(account, spec.resources, rehearsal=dry_run)
        plan = _plan(spec, aws, book, known, reporter, wait_s=0.0 if dry_run else wait_s, rehearsal=dry_run)
        outputs_in_s3.check(spec, aws, plan, reporter, rehearsal=dry_run)
        _show(spec, plan, as_json=as_json, dry_run=dry_run)
        if dry_run or not _confirmed(skip=yes or sandbox):
            return 0
        return _launch(
            spec,
            plan,
            account,
            aws,
            book,
            reporter,
            began=began,
            wait_s=wait_s,
            attendance=_Attendance(detach, boot_timeout, lost_after, as_json),
        )


class _Attendance(NamedTuple):
    detach: bool
    boot_timeout_s: float
    lost_after_s: float
    as_json: bool


def _launch_own(
    spec: JobSpec,
    address: Address,
    *,
    began: datetime,
    accept_host_key: str | None,
    dry_run: bool,
    attendance: _Attendance,
) -> int:
    """The same on a machine of the user's own: there is nothing to price, and nothing to confirm."""
    from launcher import prepare
    from launcher.domain import Account
    from launcher.places.arrange import arrange

    with session.ledger() as book, session.reporter(as_json=attendance.as_json) as reporter:
        prepare.check_key(spec, reporter)
        arranged = arrange(spec, address, state=session.state(), trust=own.trust(accept_host_key))
        own.show(spec, arranged, as_json=attendance.as_json)
        if dry_run:
            return 0
        return _launch(
            arranged.spec,
            arranged.plan,
            Account(),
            None,
            book,
            reporter,
            began=began,
            wait_s=0.0,
            attendance=attendance,
        )


def read_spec(target: str, arguments: list[str], changes: dict[str, Any]) -> JobSpec:
    """The spec that the command line means: a YAML file or a bare script, with its overrides."""
    from launcher import spec as specs

    path = Path(target)
    if path.suffix in _SPEC_SUFFIXES:
        if arguments:
            message = "arguments after -- go to a bare script; a spec has its own in `run`"
            raise SpecError(message, hint=f"edit run: in {target}")
        loaded = specs.load(path)
    else:
        loaded = specs.for_script(path, arguments, cwd=Path.cwd())
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in changes.items() if value is not None
    }
    return specs.override(loaded, specs.Overrides(**given))


def _patience_s(wait: bool, wait_for: str | None) -> float:
    """How long to wait for a machine, in seconds."""
    from launcher.spec import values

    if wait_for is None:
        return WAIT_S if wait else 0.0
    try:
        return values.duration_s(wait_for)
    except ValueError as fault:
        raise SpecError(f"--wait-for: {fault}", hint="such as --wait-for 6h") from None


def _plan(
    spec: JobSpec, aws: Aws, book: Ledger, known: Experience, reporter: Reporter, *, wait_s: float, rehearsal: bool
) -> Plan:
    """Plan the run; one that may wait does so until something is under the price cap."""
    from launcher import plan
    from launcher.aws.polling import backoff

    limit = time.monotonic() + wait_s
    waits = backoff(FIRST_PRICES_S, LAST_PRICES_S)
    while True:
        try:
            return plan.make(spec, aws, book.cache, known=known, rehearsal=rehearsal)
        except PriceTooHigh as error:
            next_s = next(waits)
            if time.monotonic() + next_s > limit:
                raise
            reporter.note(f"{error.message.splitlines()[0]}; prices are looked at again in {next_s:.0f} s")
            time.sleep(next_s)


def _show(spec: JobSpec, plan: Plan, *, as_json: bool, dry_run: bool) -> None:
    from launcher.commands import planview

    if as_json:
        planview.print_json(plan)
    else:
        sys.stderr.write(planview.text(spec, plan, rows=12 if dry_run else 3) + "\n")


def _confirmed(*, skip: bool) -> bool:
    if skip:
        return True
    if not sys.stdin.isatty():
        raise SpecError("nobody is there to confirm the cost", hint="add --yes, or --dry-run to see the plan alone")
    return typer.confirm("Launch?", default=True, err=True)


def _launch(
    spec: JobSpec,
    plan: Plan,
    account: Account,
    aws: Aws | None,
    book: Ledger,
    reporter: Reporter,
    *,
    began: datetime,
    wait_s: float,
    attendance: _Attendance,
) -> int:
    from launcher import acquire, creation
    from launcher.commands import attending

    live = creation.create(
        spec,
        plan,
        account,
        aws.at(plan.offers[0].region) if aws is not None else None,
        ledger=book,
        state=session.state(),
        reporter=reporter,
        planning_began=began,
    )
    if wait_s:
        acquire.ask_to_wait(live, wait_s)
    reporter.note(f"run {live.run_id}; it ends by {live.deadline:%H:%M:%S} UTC, whatever happens")
    return attending.attend(live, **attendance._asdict())
