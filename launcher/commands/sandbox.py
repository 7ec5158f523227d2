"""`gpurun sandbox`: the cloud on this machine."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from launcher.commands import options, session
from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.sandbox.client import SandboxClient
    from launcher.sandbox.control import Sandbox

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Start, stop and torment the cloud on this machine.",
)
fault_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Make its calls fail, as AWS's do at times.")
app.add_typer(fault_app, name="fault")

Instance = Annotated[str, typer.Argument(help="An instance id, or a unique beginning or end of one.")]


@app.command()
def start(
    *,
    hosts: Annotated[str, typer.Option(help="auto, namespaces, loopback or none.", metavar="KIND")] = "auto",
) -> None:
    """Start it in the background, if it does not run yet."""
    from launcher.sandbox import control

    running = control.start(session.state().sandbox, hosts=hosts)
    typer.echo(f"the sandbox cloud answers at {running.endpoint_url} with {running.hosts} hosts")
    if running.warning:
        typer.echo(f"warning: {running.warning}", err=True)


@app.command()
def stop() -> None:
    """End it, with every machine, process and file that it has."""
    from launcher.sandbox import control

    typer.echo("stopped; nothing is left" if control.stop(session.state().sandbox) else "no sandbox was running")


@app.command()
def status(*, as_json: options.Json = False) -> None:
    """Say whether it runs, and what machines it has."""
    from launcher.sandbox import control

    running = control.status(session.state().sandbox)
    machines = _client(running).instances() if running is not None else []
    if as_json:
        typer.echo(json.dumps(_described(running, machines), indent=1))
    elif running is None:
        typer.echo("no sandbox is running; gpurun sandbox start starts one")
    else:
        typer.echo(f"{running.endpoint_url} ({running.hosts} hosts, process {running.pid})")
        alive = [each for each in machines if each["state"] != "terminated"]
        for each in alive:
            typer.echo(_line(each))
        if not alive:
            typer.echo("no machine is left")


@app.command()
def env() -> None:
    """Print what lets the AWS CLI and ssh see it: eval "$(gpurun sandbox env)"."""
    running = _running()
    account = running.account
    values = {
        "AWS_CONFIG_FILE": account.config_file,
        "AWS_SHARED_CREDENTIALS_FILE": account.credentials_file,
        "AWS_PROFILE": account.profile,
        "AWS_REGION": account.region,
        "GPURUN_SANDBOX_SSH_CONFIG": account.ssh_config_file,
    }
    for name, value in values.items():
        typer.echo(f"export {name}={shlex.quote(str(value))}")


@app.command()
def console(instance: Instance) -> None:
    """Print what a machine's console has said, also after its end: where to look when user-data goes wrong."""
    client, instance_id = _found(instance, living=False)
    typer.echo(client.console(instance_id), nl=False)


@app.command()
def interrupt(
    instance: Instance,
    *,
    in_s: Annotated[
        float,
        typer.Option("--in", help="Seconds from the notice to the end.", min=0, max=86_400, callback=options.finite),
    ] = 120.0,
) -> None:
    """Take a spot machine back, after the notice that AWS gives."""
    client, instance_id = _found(instance)
    client.interrupt(instance_id, in_s)
    typer.echo(f"{instance_id} has its notice, and ends in {in_s:g} s")


@app.command()
def rebalance(instance: Instance) -> None:
    """Recommend a rebalance in a machine's metadata."""
    client, instance_id = _found(instance)
    client.rebalance(instance_id)
    typer.echo(f"{instance_id} is told that it may be interrupted")


@app.command()
def kill(instance: Instance) -> None:
    """Let a machine die at once, while EC2 goes on showing it as running."""
    client, instance_id = _found(instance)
    client.kill(instance_id)
    typer.echo(f"{instance_id} is dead; EC2 does not know")


@app.command()
def partition(
    instance: Instance, *, heal: Annotated[bool, typer.Option("--heal", help="Mend it again.")] = False
) -> None:
    """Cut a machine's network, or heal it."""
    client, instance_id = _found(instance)
    client.partition(instance_id, cut=not heal)
    typer.echo(f"{instance_id} is {'reachable again' if heal else 'cut off'}")


@app.command()
def fill(
    instance: Instance,
    *,
    leave: Annotated[str, typer.Option(help="How much room to leave: 0, 4096, 1MiB ...", metavar="SIZE")] = "0",
    undo: Annotated[bool, typer.Option("--undo", help="Empty it again.")] = False,
) -> None:
    """Fill a machine's disk; one that was launched after `set disk_bytes=2GiB`."""
    client, instance_id = _found(instance)
    if undo:
        client.empty(instance_id)
        typer.echo(f"the disk of {instance_id} has its room again")
    else:
        left_bytes = _size(leave)
        client.fill(instance_id, left_bytes)
        typer.echo(f"the disk of {instance_id} is full but for {left_bytes} bytes")


@app.command()
def address(
    new: Annotated[
        str, typer.Argument(help="An IPv4 or IPv6 address; none: say which it is.", metavar="[ADDRESS]")
    ] = "",
) -> None:
    """Give this computer another address, in the cloud's eyes: lines from the old one go silent."""
    client = _client(_running())
    if new:
        client.move(new)
    typer.echo(f"the cloud sees this computer at {client.address}")


@app.command(name="set")
def change(
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="NAME=VALUE, several with blanks between; none: show all.", metavar="[NAME=VALUE]..."),
    ] = None,
) -> None:
    """Turn the sandbox's knobs: gpurun sandbox set boot_delay_s=30 disk_bytes=2GiB."""
    client = _client(_running())
    shown = client.settings(**dict(map(_setting, settings or [])))
    for name, value in shown.items():
        typer.echo(f"{name}={json.dumps(value)}")


@fault_app.command("add")
def add_fault(
    error: Annotated[
        str, typer.Argument(help="An AWS error code, or expired-credentials or invalid-credentials.", metavar="[ERROR]")
    ] = "",
    *,
    action: Annotated[str, typer.Option(help="Regular expression on the API action.")] = "",
    service: Annotated[str, typer.Option(help="ec2, sts, ssm, pricing ...")] = "",
    region: Annotated[str, typer.Option(help="One region alone.")] = "",
    kind: Annotated[str, typer.Option("--type", help="Regular expression on the instance type.")] = "",
    zone: Annotated[str, typer.Option(help="Regular expression on the zone.")] = "",
    market: Annotated[str, typer.Option(help="spot or on-demand.")] = "",
    times: Annotated[int, typer.Option(help="How many calls; -1: all until `fault clear`.")] = 1,
    skip: Annotated[int, typer.Option(help="How many calls pass first.")] = 0,
    probability: Annotated[float, typer.Option(help="Of each call.", min=0, max=1, callback=options.finite)] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Makes the probability's dice repeatable.")] = None,
    delay_s: Annotated[
        float,
        typer.Option("--delay", help="Seconds before anything happens.", min=0, max=86_400, callback=options.finite),
    ] = 0.0,
    drop: Annotated[str, typer.Option(help="Reset the connection: before or after the call takes effect.")] = "",
) -> None:
    """Make calls fail: gpurun sandbox fault add InsufficientInstanceCapacity --action CreateFleet --type 'g5.*'."""
    params = {"InstanceType": kind, "AvailabilityZone": zone, "Market": market}
    rule: dict[str, Any] = {
        "match": {
            "service": service,
            "action": action,
            "region": region,
            "params": {name: pattern for name, pattern in params.items() if pattern},
        },
        "effect": {"error": error, "delay_s": delay_s, "drop": drop},
        "times": times,
        "skip": skip,
        "probability": probability,
        "seed": seed,
    }
    made = _client(_running()).fault(rule)
    typer.echo(f"fault {made['id']} is in force")


@fault_app.command("list")
def list_faults(*, as_json: options.Json = False) -> None:
    """Show the faults in force, and how often each has struck."""
    found = _client(_running()).faults()
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for each in found:
        typer.echo(f"{each['id']}  {_short(each['match'])} -> {_short(each['effect'])}  struck {each['hits']} times")
    if not found:
        typer.echo("no fault is in force")


@fault_app.command("clear")
def clear_faults() -> None:
    """Lift all faults."""
    _client(_running()).clear_faults()
    typer.echo("no fault is in force")


def _setting(text: str) -> tuple[str, Any]:
    """One knob: JSON, or a size, or numbers with commas between them."""
    name, equals, value = text.partition("=")
    if not equals:
        raise SpecError(f"{text!r} is no setting", hint="NAME=VALUE, such as boot_delay_s=30")
    if name.endswith("_bytes"):
        return name, _size(value)
    if name.endswith("s_s"):
        return name, [part for part in value.split(",") if part]
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _size(text: str) -> int:
    from launcher.spec.values import size_bytes

    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return size_bytes(text)
    except ValueError as error:
        raise SpecError(f"{text!r} is no size: {error}", hint="512MiB, 2GiB, or a number of bytes") from error


def _running() -> Sandbox:
    from launcher.sandbox import control

    running = control.status(session.state().sandbox)
    if running is None:
        raise SpecError("no sandbox is running", hint="gpurun sandbox start")
    return running


def _client(running: Sandbox) -> SandboxClient:
    from launcher.sandbox.client import SandboxClient

    return SandboxClient(running.endpoint_url)


def _found(name: str, *, living: bool = True) -> tuple[SandboxClient, str]:
    """The one machine whose id begins or ends so."""
    client = _client(_running())
    ids = [each["instance_id"] for each in client.instances() if not living or each["state"] != "terminated"]
    fitting = [each for each in ids if each.startswith(name) or each.endswith(name)]
    if len(fitting) == 1:
        return client, str(fitting[0])
    known = ", ".join(ids) or "there is none"
    raise SpecError(f"{name!r} names {len(fitting)} machines of the sandbox", hint=f"one of: {known}")


def _described(running: Sandbox | None, machines: list[dict[str, Any]]) -> dict[str, Any]:
    if running is None:
        return {"running": False, "instances": []}
    return {
        "running": True,
        "endpoint_url": running.endpoint_url,
        "pid": running.pid,
        "hosts": running.hosts,
        "started_at": running.started_at.isoformat(),
        "ssh_config": str(running.account.ssh_config_file),
        "instances": machines,
    }


def _line(machine: dict[str, Any]) -> str:
    run = machine["tags"].get("gpurun:run", "-")
    parts = ("instance_id", "instance_type", "zone", "market", "state", "host")
    return "  ".join([*(str(machine[part]) for part in parts), f"run {run}"])


def _short(value: dict[str, Any]) -> str:
    flat = {**{k: v for k, v in value.items() if k != "params"}, **value.get("params", {})}
    return " ".join(f"{name}={each}" for name, each in flat.items()) or "any call"
