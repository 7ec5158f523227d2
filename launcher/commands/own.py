"""Launching on a machine of the user's own: what cannot be asked of one, its host key judged, its plan shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.domain import JobSpec
    from launcher.places.address import Address
    from launcher.places.arrange import Arranged
    from launcher.sync.ssh.first_contact import Trust


def address(on: str | None, cloud_alone: dict[str, Any]) -> Address | None:
    """The user's machine that `--on` names, `None` for AWS.

    Raises `SpecError` for what is no place, and for options that only AWS knows beside one that is not AWS.
    """
    from launcher.places.address import parse

    found = parse(on) if on is not None else None
    given = sorted(name for name, value in cloud_alone.items() if value not in (None, False, [], ()))
    if found is not None and given:
        raise SpecError(
            f"--on {found} and {', '.join(given)} contradict each other: on a machine of your own there is nothing "
            "to choose, to buy or to wait for",
            hint=f"leave out {given[0]}, or --on {found}",
        )
    return found


def trust(accept: str | None) -> Trust:
    """How a host key that is new here is judged: by the fingerprint that was given, or by the user at a terminal."""
    from launcher.sync.ssh.first_contact import Trust

    return Trust(accept=accept or "", ask=_ask if sys.stdin.isatty() else None)


def _ask(question: str) -> bool:
    return typer.confirm(question, default=False, err=True)


def show(spec: JobSpec, arranged: Arranged, *, as_json: bool) -> None:
    """The machine, the job and when it ends at the latest."""
    from launcher.commands import planview

    if as_json:
        planview.print_json(arranged.plan)
    else:
        sys.stderr.write(text(spec, arranged) + "\n")


def text(spec: JobSpec, arranged: Arranged) -> str:
    """The same, in lines."""
    offer, found = arranged.plan.offers[0], arranged.found
    gpu = "no GPU seen"
    if offer.gpu is not None:
        gpu = f"{offer.gpu.count} x {offer.gpu.kind} {offer.gpu.memory_bytes >> 30} GiB"
    lines = [
        f"machine  {offer.instance_type}, yours: {offer.vcpus} CPUs, {offer.memory_bytes / 2**30:.0f} GiB, {gpu},"
        f" python3 {found.python}",
        f"job      {spec.name}: {spec.device}, {spec.floatx}",
        f"cost     nothing; the job ends after {arranged.plan.hours:g} h at the latest, the machine stays",
    ]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in arranged.plan.warnings)])
