"""`gpurun doctor`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.commands import options, session
from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.domain import Account


def command(
    folder: Annotated[
        Path | None, typer.Argument(help="Where --print-iam writes; gpurun-iam if left out.", show_default=False)
    ] = None,
    *,
    print_iam: Annotated[
        bool, typer.Option("--print-iam", help="Write the least IAM policies, and say how to put them in force.")
    ] = False,
    outputs: Annotated[
        str | None, typer.Option(metavar="S3", help="With --print-iam: the bucket of durable outputs, also s3://a/b.")
    ] = None,
    bake: Annotated[bool, typer.Option("--bake", help="With --print-iam: what gpurun ami needs, too.")] = False,
    deploy: Annotated[
        bool, typer.Option("--deploy", help="With --print-iam: what gpurun schedule deploy needs, too.")
    ] = False,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
) -> int:
    """Check all that a launch will need, in parallel; each finding comes with its exact fix."""
    from launcher import checkup, render

    account = session.account(sandbox=sandbox, profile=profile, region=region)
    if print_iam:
        return _print_iam(account, folder or Path("gpurun-iam"), outputs, bake=bake, deploy=deploy)
    if folder is not None or outputs is not None or bake or deploy:
        raise SpecError(
            "a folder, --outputs, --bake and --deploy are for --print-iam", hint="gpurun doctor --print-iam gpurun-iam"
        )
    findings = checkup.run(account, session.state())
    bad = [finding for finding in findings if finding.verdict == "bad"]
    if as_json:
        render.print_json(findings, indent=1)
        return 1 if bad else 0
    for finding in findings:
        sys.stdout.write(f"{finding.verdict:<5} {finding.name:<14} {finding.text}\n")
        if finding.fix:
            sys.stdout.write(f"      {'':<14} fix: {finding.fix}\n")
    sys.stdout.write("all is well\n" if not bad else f"{len(bad)} to fix\n")
    return 1 if bad else 0


def _print_iam(account: Account, folder: Path, outputs: str | None, *, bake: bool, deploy: bool) -> int:
    from launcher.aws import policyfiles
    from launcher.aws.client import Aws

    for line in policyfiles.write(folder, Aws(account).identity(), outputs, bake=bake, deploy=deploy):
        sys.stdout.write(line + "\n")
    return 0
