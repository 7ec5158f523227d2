"""Options that several commands share, written once."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Sandbox = Annotated[bool, typer.Option("--sandbox", help="Use the cloud on this machine; no AWS account needed.")]
Profile = Annotated[str | None, typer.Option(help="AWS profile, as in ~/.aws/config.", metavar="NAME")]
Region = Annotated[str | None, typer.Option(help="AWS region.", metavar="REGION")]
Run = Annotated[str, typer.Argument(help="A run's id, a unique beginning of it, its name, or 'last'.", metavar="RUN")]
