"""`gpurun gc`."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.commands import options, session
from launcher.errors import GpurunError, LedgerError, ProvisionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.aws.client import Aws
    from launcher.aws.orphans import Failure, Orphan, Survey
    from launcher.ledger import Ledger, RunRecord


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
    from launcher.aws import orphans
    from launcher.aws.client import Aws
    from launcher.commands import gcview

    aws = Aws(session.account(sandbox=sandbox, profile=profile, region=region))
    with session.ledger() as book:
        survey = orphans.survey(aws)
        doomed = _doomed(survey, book, everybody=everybody)
        failed = _remove(aws, doomed) if yes else ()
        gone = [each for each in doomed if each not in [failure.orphan for failure in failed]] if yes else []
        closed, unclosed = _close(gone, failed, book)
    found = gcview.Found(survey=survey, doomed=doomed, gone=gone, failed=failed, closed=closed, acted=yes)
    gcview.show(found, as_json=as_json)
    for why in unclosed:
        sys.stderr.write(f"error: {why}\n")
    if unclosed:
        return LedgerError.exit_code
    unclean = failed or any(not each.closed for each in survey.unsearched)
    return ProvisionError.exit_code if unclean else 0


def _doomed(survey: Survey, book: Ledger, *, everybody: bool) -> list[Orphan]:
    from launcher.commands.fates import Judge
    from launcher.owner import owner

    blind = frozenset(each.region for each in survey.unsearched if each.kind == "instance")
    judge = Judge(owner=owner(), everybody=everybody, now=datetime.now(UTC), blind=blind)
    return judge.doomed(survey.orphans, book.list())


def _remove(aws: Aws, doomed: Sequence[Orphan]) -> tuple[Failure, ...]:
    from launcher.aws import orphans

    if doomed:
        sys.stderr.write(f"removing {len(doomed)}; machines and their groups take minutes\n")
    return orphans.remove_all(aws, doomed)


def _close(gone: Sequence[Orphan], failed: Sequence[Failure], book: Ledger) -> tuple[list[RunRecord], list[str]]:
    """Bring the ledger's runs whose things were removed to their end: those closed, and why others were not."""
    standing = {failure.orphan.run_id for failure in failed}
    removed: dict[str, list[Orphan]] = {}
    for each in gone:
        if each.run_id not in standing:
            removed.setdefault(each.run_id, []).append(each)
    closed, unclosed = [], []
    for record in book.list():
        mine = removed.get(record.run_id)
        if mine is None:
            continue
        book.event(record.run_id, "collected", {"kinds": sorted({each.kind for each in mine})})
        if record.status.final:
            continue
        try:
            closed.append(_end(record, book, mine))
        except GpurunError as error:
            unclosed.append(f"run {record.run_id} is not closed: {error.message}; next: {error.hint}")
    return closed, unclosed


def _end(record: RunRecord, book: Ledger, gone: Sequence[Orphan]) -> RunRecord:
    """The end that `gpurun down` gives a run, with what is true: what is home decides whether it succeeded."""
    from launcher import jobend, teardown, unattended

    with session.reporter() as reporter:
        live = session.live_run(record, book, reporter)
        unattended.claim(live)
        with suppress(GpurunError):  # what S3 has stays there
            jobend.bring_unseen(live)
        home = "its results were home" if live.has_event("fetched") else "its results had not come home"
        why = "; ".join([*([record.reason] if record.reason else []), _overdue(record), home, _deed(gone)])
        teardown.end(live, teardown.deserved(live), reason=why)
    return book.get(record.run_id)


def _overdue(record: RunRecord) -> str:
    when = f" of {record.deadline_at:%Y-%m-%d %H:%M:%S} UTC" if record.deadline_at else ""
    return f"its deadline{when} had passed"


def _deed(gone: Sequence[Orphan]) -> str:
    machines = [each.id for each in gone if each.kind == "instance"]
    if machines:
        return f"gpurun gc ended {', '.join(machines)}"
    return "gpurun gc found no machine of it, and removed what it had left"
