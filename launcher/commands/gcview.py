"""What `gpurun gc` tells."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher import render
from launcher.aws.orphans import KINDS, Failure, Orphan, Survey, Unsearched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.ledger import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found, what was to go, and what has gone."""

    survey: Survey
    doomed: Sequence[Orphan]
    gone: Sequence[Orphan]
    failed: Sequence[Failure]
    closed: Sequence[RunRecord]
    """Runs of the ledger that were brought to their end."""
    acted: bool


def show(found: Found, *, as_json: bool) -> None:
    """Print it: the findings to standard output, what went wrong to standard error."""
    if as_json:
        render.print_json(_report(found), indent=1)
    else:
        sys.stdout.write(_table(found))
    for line in _unsearched_lines(found.survey.unsearched):
        sys.stderr.write(f"warning: {line}\n")
    for failure in found.failed:
        sys.stderr.write(f"error: {failure.orphan.kind} {failure.orphan.id} is still there: {failure.error.message}\n")


def _report(found: Found) -> dict[str, object]:
    return {
        "found": found.survey.orphans,
        "would_remove": found.doomed,
        "removed": found.gone,
        "failed": [
            {"orphan": failure.orphan, "error": failure.error.message, "hint": failure.error.hint}
            for failure in found.failed
        ],
        "closed": [
            {"run_id": record.run_id, "status": record.status.value, "reason": record.reason} for record in found.closed
        ],
        "unsearched": found.survey.unsearched,
    }


def _table(found: Found) -> str:
    if not found.survey.orphans:
        return "nothing carries a tag of gpurun\n" if not found.survey.unsearched else "nothing was found\n"
    doomed, gone = _keys(found.doomed), _keys(found.gone)
    rows = [
        (each.kind, each.id, each.region, each.run_id, _fate(_key(each), doomed, gone, acted=found.acted))
        for each in found.survey.orphans
    ]
    lines = [render.table(("kind", "id", "region", "run", ""), rows)]
    lines += [f"run {record.run_id}: {record.status}; {record.reason}" for record in found.closed]
    if doomed and not found.acted:
        lines.append("next: gpurun gc --yes removes them")
    return "\n".join(lines) + "\n"


def _key(orphan: Orphan) -> tuple[str, str, str]:
    return orphan.kind, orphan.region, orphan.id


def _keys(orphans: Sequence[Orphan]) -> set[tuple[str, str, str]]:
    return {_key(each) for each in orphans}


def _fate(
    key: tuple[str, str, str], doomed: set[tuple[str, str, str]], gone: set[tuple[str, str, str]], *, acted: bool
) -> str:
    if key not in doomed:
        return "kept: its run lives"
    if not acted:
        return "would go"
    return "removed" if key in gone else "not removed"


def _unsearched_lines(unsearched: Sequence[Unsearched]) -> list[str]:
    """One line for regions that lack the same: an old policy refuses the same kinds everywhere."""
    lacks: dict[str, list[Unsearched]] = {}
    for each in unsearched:
        lacks.setdefault(each.region, []).append(each)
    lines: dict[tuple[tuple[str, ...], bool], list[str]] = {}
    for region, some in lacks.items():
        lines.setdefault((tuple(each.kind for each in some), some[0].closed), []).append(region)
    return [_line(kinds, names, lacks[names[0]][0].why) for (kinds, _), names in lines.items()]


def _line(kinds: Sequence[str], regions: Sequence[str], why: str) -> str:
    where = ", ".join(regions)
    if tuple(kinds) == KINDS:
        return f"{where} could not be searched: {why}"
    return f"{', '.join(kinds)}: could not be looked for in {where}: {why}"
