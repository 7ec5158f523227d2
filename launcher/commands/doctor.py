"""`gpurun doctor`."""

from __future__ import annotations

import sys

from launcher.commands import options, session


def command(
    *,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
) -> int:
    """Check all that a launch will need, in parallel; each finding comes with its exact fix."""
    from launcher import checkup, render

    account = session.account(sandbox=sandbox, profile=profile, region=region)
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
