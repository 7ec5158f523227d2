"""`gpurun gc`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.commands import options, session

if TYPE_CHECKING:
    from launcher.aws.orphans import Orphan
    from launcher.ledger import Ledger


def command(
    *,
    yes: options.Yes = False,
    everybody: Annotated[bool, typer.Option("--all", help="Also other laptops' runs before their deadline.")] = False,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
) -> int:
    """Find what no run owns, from tags alone, in every region; --yes removes it."""
    from launcher import render
    from launcher.aws import orphans
    from launcher.aws.client import Aws

    aws = Aws(session.account(sandbox=sandbox, profile=profile, region=region))
    with session.ledger() as book:
        survey = orphans.survey(aws)
        found = list(survey.orphans)
        doomed = [orphan for orphan in found if _ownerless(orphan, book, everybody=everybody)]
        if as_json:
            render.print_json(
                {"found": found, "removed": doomed if yes else [], "would_remove": doomed, "refused": survey.refused},
                indent=1,
            )
        else:
            _print(found, doomed, yes=yes)
        for region_name, why in survey.refused.items():
            sys.stderr.write(f"warning: {region_name} could not be searched: {why}\n")
        if yes:
            orphans.remove_all(aws, doomed)
            _close(doomed, book)
    return 0


def _ownerless(orphan: Orphan, book: Ledger, *, everybody: bool) -> bool:
    """Whether nothing speaks for keeping it: a living run of ours, or another laptop's before its deadline."""
    from launcher.domain import RunId
    from launcher.owner import TAG_OWNER, owner

    records = {record.run_id: record for record in book.list()}
    record = records.get(RunId(orphan.run_id))
    if record is not None:
        return record.status.final or (record.deadline_at is not None and record.deadline_at < datetime.now(UTC))
    if everybody or orphan.tags.get(TAG_OWNER) == owner():
        return True
    return _past(orphan.tags.get("gpurun:deadline", ""))


def _past(deadline: str) -> bool:
    try:
        return datetime.fromisoformat(deadline) < datetime.now(UTC)
    except ValueError:
        return False


def _close(removed: list[Orphan], book: Ledger) -> None:
    for record in book.list():
        run_id = record.run_id
        if any(orphan.run_id == run_id for orphan in removed):
            book.event(run_id, "collected", {"kinds": sorted({o.kind for o in removed if o.run_id == run_id})})


def _print(found: list[Orphan], doomed: list[Orphan], *, yes: bool) -> None:
    from launcher import render

    if not found:
        sys.stdout.write("nothing carries a tag of gpurun\n")
        return
    verb = "removed" if yes else "would go"
    rows = [
        (
            orphan.kind,
            orphan.id,
            orphan.region,
            orphan.run_id,
            verb if orphan in doomed else "kept: its run lives",
        )
        for orphan in found
    ]
    sys.stdout.write(render.table(("kind", "id", "region", "run", ""), rows) + "\n")
    if doomed and not yes:
        sys.stdout.write("next: gpurun gc --yes removes them\n")
