"""Options that several commands share, written once."""

from __future__ import annotations

import math
from typing import Annotated

import typer


def finite(value: float | None) -> float | None:
    """Refuse `nan` and `inf`, which a range check lets through; raises `typer.BadParameter`."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Sandbox = Annotated[bool, typer.Option("--sandbox", help="Use the cloud on this machine; no AWS account needed.")]
On = Annotated[
    str | None,
    typer.Option(help="Where to run: aws, local (this machine) or ssh://USER@HOST[:PORT].", metavar="PLACE"),
]
AcceptHostKey = Annotated[
    str | None, typer.Option(help="Fingerprint of the --on machine's host key, where it is new.", metavar="SHA256:...")
]
Profile = Annotated[str | None, typer.Option(help="AWS profile, as in ~/.aws/config.", metavar="NAME")]
Region = Annotated[str | None, typer.Option(help="AWS region.", metavar="REGION")]
BootTimeout = Annotated[
    float, typer.Option(help="Seconds until SSH must answer.", min=1, max=7200, callback=finite, metavar="SECONDS")
]
LostAfter = Annotated[
    float,
    typer.Option(
        help="Seconds out of reach after which a machine that EC2 calls running is given up for another, and your own"
        " is left for gpurun resume.",
        min=1,
        max=86_400,
        callback=finite,
        metavar="SECONDS",
    ),
]
Run = Annotated[str, typer.Argument(help="A run's id, a unique beginning of it, its name, or 'last'.", metavar="RUN")]
CheckpointSize = Annotated[
    str | None, typer.Option(help="Of the job, such as '2 GB'; default: of the last run of that name.", metavar="SIZE")
]
