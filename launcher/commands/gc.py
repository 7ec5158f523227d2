"""`gpurun gc`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.commands import options, session
from launcher.errors import ProvisionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.aws.client import Aws
    from launcher.aws.orphans import Failure, Orphan, Survey
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
    """Find what no run owns, from tags alone, in every region; --yes removes it. Exits 4 when something stays."""
    from launcher import render
    from launcher.aws import orphans
    from launcher.aws.client import Aws

    aws = Aws(session.account(sandbox=sandbox, profile=profile, region=region))
    with session.ledger() as book:
        survey = orphans.survey(aws)
        doomed = [orphan for orphan in survey.orphans if _ownerless(orphan, book, everybody=everybody)]
        failed = _remove(aws, doomed, book) if yes else ()
    if as_json:
        render.print_json(_report(survey, doomed, failed, yes=yes), indent=1)
    else:
        _print(survey.orphans, doomed, failed, yes=yes)
    for region_name, why in survey.refused.items():
        sys.stderr.write(f"warning: {region_name} could not be searched: {why}\n")
    for failure in failed:
        sys.stderr.write(f"error: {failure.orphan.kind} {failure.orphan.id} is still there: {failure.error.message}\n")
    return ProvisionError.exit_code if failed else 0


def _remove(aws: Aws, doomed: Sequence[Orphan], book: Ledger) -> tuple[Failure, ...]:
    from launcher.aws import orphans

    if doomed:
        sys.stderr.write(f"removing {len(doomed)}; machines and their groups take minutes\n")
    failed = orphans.remove_all(aws, doomed)
    _close(_without(doomed, failed), book)
    return failed


def _without(doomed: Sequence[Orphan], failed: Sequence[Failure]) -> list[Orphan]:
    still_there = [failure.orphan for failure in failed]
    return [orphan for orphan in doomed if orphan not in still_there]


def _report(survey: Survey, doomed: Sequence[Orphan], failed: Sequence[Failure], *, yes: bool) -> dict[str, object]:
    return {
        "found": survey.orphans,
        "would_remove": doomed,
        "removed": _without(doomed, failed) if yes else [],
        "failed": [
            {"orphan": failure.orphan, "error": failure.error.message, "hint": failure.error.hint} for failure in failed
        ],
        "refused": survey.refused,
    }


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
    """Whether a deadline's tag, a time in UTC unless it names another zone, lies behind us; rubbish does not."""
    try:
        moment = datetime.fromisoformat(deadline)
    except ValueError:
        return False
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) < datetime.now(UTC)


def _close(removed: Sequence[Orphan], book: Ledger) -> None:
    for record in book.list():
        run_id = record.run_id
        if any(orphan.run_id == run_id for orphan in removed):
            book.event(run_id, "collected", {"kinds": sorted({o.kind for o in removed if o.run_id == run_id})})


def _print(found: Sequence[Orphan], doomed: Sequence[Orphan], failed: Sequence[Failure], *, yes: bool) -> None:
    from launcher import render

    if not found:
        sys.stdout.write("nothing carries a tag of gpurun\n")
        return
    removed = _without(doomed, failed)
    rows = [
        (orphan.kind, orphan.id, orphan.region, orphan.run_id, _fate(orphan, doomed, removed, yes=yes))
        for orphan in found
    ]
    sys.stdout.write(render.table(("kind", "id", "region", "run", ""), rows) + "\n")
    if doomed and not yes:
        sys.stdout.write("next: gpurun gc --yes removes them\n")


def _fate(orphan: Orphan, doomed: Sequence[Orphan], removed: Sequence[Orphan], *, yes: bool) -> str:
    if orphan not in doomed:
        return "kept: its run lives"
    if not yes:
        return "would go"
    return "removed" if orphan in removed else "not removed"
