"""What a bake does on its machine, over the run's own line."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from typing import Any

from launcher.bake.recipe import Recipe
from launcher.domain import Instance
from launcher.errors import CommandFailed, HostUnreachable, ProvisionError, RemoteError
from launcher.live import LiveRun
from launcher.ports import Connection, Line

FOLDER = "gpurun/bake"
"""Below the user's home. The file `state` in it tells the guard of machines without a job that this one has work."""
THIS_BOOT = "/dev/shm/gpurun-bake"  # noqa: S108 - in memory, so that it is gone after a reboot, and on no image
TRIES = 3
"""How often the provisioning is begun again after its line broke."""
RECONNECT_S = 120.0
CLAIM_CONNECT_S, CLAIM_S = 3.0, 10.0
LONGEST_FINDING_BYTES = 65536

_WHO = """
from urllib.request import Request, urlopen
def ask(path, method, headers):
    request = Request("http://169.254.169.254/latest/" + path, method=method, headers=headers)
    return urlopen(request, timeout=5).read()
token = ask("api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}).decode()
print(ask("meta-data/instance-id", "GET", {"X-aws-ec2-metadata-token": token}).decode())
"""


def identify(connection: Connection, instance: Instance) -> None:
    """See that this is the machine that EC2 made for us, by its own metadata, before anything on it is changed.

    A sandbox's loopback host is this very computer. Raises `ProvisionError`.
    """
    answer = connection.run("python3 -", stdin=_WHO.encode(), timeout_s=30.0)
    said = answer.stdout.decode(errors="replace").strip()
    if said != instance.instance_id:
        raise ProvisionError(
            f"the machine that answers says that it is {said or 'no EC2 instance'}, not {instance.instance_id}: "
            "nothing on it was changed",
            hint="a bake needs a machine of its own: with the sandbox, gpurun sandbox start --hosts namespaces",
        )


def provision(live: LiveRun, line: Line, recipe: Recipe) -> None:
    """Put the recipe there and run its provisioning to its end; raises `CommandFailed`, `HostUnreachable`."""
    for left in reversed(range(TRIES)):
        try:
            connection = line.fresh(RECONNECT_S)
            _lay_out(connection, recipe)
            _told(live, connection, "command -v cloud-init >/dev/null && cloud-init status --wait >/dev/null; true")
            _told(live, connection, f"sudo -n bash {FOLDER}/provision.sh {FOLDER}/versions.env 2>&1")
        except HostUnreachable as error:
            if not left:
                raise
            live.reporter.warn(f"{error.message}; the provisioning is begun again, and goes on from where it was")
        else:
            return


def smoke_test(live: LiveRun, connection: Connection, recipe: Recipe) -> dict[str, Any]:
    """What the smoke test found; raises `ProvisionError` where something does not work."""
    answer = connection.run(f"{shlex.quote(recipe.python)} {FOLDER}/smoke_test.py", timeout_s=600.0)
    _write_log(live, answer.stderr + answer.stdout)
    lines = answer.stdout[-LONGEST_FINDING_BYTES:].splitlines()
    said: Any = None
    with suppress(ValueError):
        said = json.loads(lines[-1]) if lines else None
    found: dict[str, Any] = said if isinstance(said, dict) else {}
    if not found:
        found = {"trouble": (answer.stderr or answer.stdout).decode(errors="replace")[-2000:].strip() or "no word"}
    if answer.status or found.get("ok") is not True:
        raise ProvisionError(
            f"the smoke test fails on the new machine: {printable(found.get('trouble'))}",
            hint=f"see versions.env in {recipe.folder}; the log: gpurun logs {live.run_id}",
        )
    return found


def mark_boot(connection: Connection) -> None:
    """Leave a mark in the machine's memory, which a reboot takes away."""
    connection.run(f"sudo -n touch {THIS_BOOT}")


def claim_again(line: Line) -> bool:
    """Once the machine has rebooted for its image, tell its guard anew that it has work; says whether that was done.

    Its disk is on the image already, so that this mark is not. Before, nobody can log in.
    """
    try:
        connection = line.fresh(CLAIM_CONNECT_S)
        claim = f"[ ! -e {THIS_BOOT} ] && mkdir -p {FOLDER} && touch {FOLDER}/state"
        return connection.run(claim, timeout_s=CLAIM_S).status == 0
    except RemoteError:
        return False


def printable(value: object) -> str:
    """What the machine said, for a terminal or a tag: without what would speak to the terminal itself."""
    return "".join(each if each.isprintable() else " " for each in str(value)[-2000:])


def clean(live: LiveRun, connection: Connection, recipe: Recipe) -> None:
    """Take away keys, histories and all that is this machine's: nobody can log in any more until it has rebooted."""
    answer = connection.run("sudo -n bash -s /", stdin=recipe.files["clean.sh"], timeout_s=300.0)
    _write_log(live, answer.stdout + answer.stderr)
    if answer.status:
        raise _failed("clean.sh", answer.status, answer.stderr.decode(errors="replace"), live)


def _lay_out(connection: Connection, recipe: Recipe) -> None:
    made = connection.run(f"umask 077 && mkdir -p {FOLDER} && touch {FOLDER}/state")
    for name, content in recipe.files.items():
        if made.status == 0:
            made = connection.run(f"cat >{FOLDER}/{shlex.quote(name)}", stdin=content)
    if made.status:
        raise RemoteError(
            f"the recipe cannot be written to the machine: {made.stderr.decode(errors='replace')[-500:].strip()}",
            hint="resources.image, or --disk for a larger one",
        )


def _told(live: LiveRun, connection: Connection, command: str) -> None:
    """Run a command, its output told and logged as it comes."""
    stream = connection.open(command)
    try:
        stream.close_input()
        last = b""
        while chunk := stream.read(65536):
            _write_log(live, chunk)
            last = (last + chunk)[-2000:]
        status = stream.finish().status
    finally:
        stream.close()
    if status:
        raise _failed(command.partition(" 2>")[0], status, last.decode(errors="replace"), live)


def _write_log(live: LiveRun, data: bytes) -> None:
    live.reporter.log(data)
    with live.paths.log.open("ab") as log:
        log.write(data)


def _failed(what: str, status: int, last: str, live: LiveRun) -> CommandFailed:
    told = printable("; ".join(last.strip().splitlines()[-3:]))
    return CommandFailed(
        f"{what} ended with {status}: {told}", hint=f"gpurun logs {live.run_id}", status=status, stderr=last
    )
