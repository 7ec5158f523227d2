"""A comparison that is agreed to, written down: every run and what they are together, before anybody is asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from launcher.commands import compareplan, session
from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.commands.compareplan import Planned
    from launcher.domain import ComparisonWish, JobSpec, RunId
    from launcher.ledger import ComparisonRecord, Ledger
    from launcher.ports import Reporter


def confirmed(planned: Sequence[Planned], *, skip: bool) -> bool:
    """Whether the user agrees to the cost, where there is any; raises `SpecError` where nobody can be asked."""
    if skip or not any(each.group.place.rented for each in planned):
        return True
    if not sys.stdin.isatty():
        raise SpecError("nobody is there to confirm the cost", hint="add --yes, or --dry-run to see the plan alone")
    runs = "the run" if len(planned) == 1 else f"all {len(planned)} runs"
    return typer.confirm(
        f"Launch {runs}, for at most {compareplan.max_cost_usd(planned):.2f} USD?", default=True, err=True
    )


def write(
    spec: JobSpec,
    asked: ComparisonWish,
    planned: Sequence[Planned],
    warnings: tuple[str, ...],
    book: Ledger,
    reporter: Reporter,
    *,
    began: datetime,
) -> tuple[ComparisonRecord, dict[RunId, str]]:
    """Every run and then the comparison written down, before anything is asked of anybody; gives the runs' labels."""
    from launcher import __version__, creation
    from launcher.commands import compareattend
    from launcher.commands.comparetell import compared
    from launcher.compare import kept
    from launcher.compare.assemble import Request
    from launcher.compare.shown import shown
    from launcher.ledger import ComparisonRecord, new_run_id

    runs: list[kept.KeptRun] = []
    try:
        for each in planned:
            live = creation.create(
                each.spec,
                each.plan,
                each.account,
                each.cloud.at(each.plan.offers[0].region) if each.cloud is not None else None,
                ledger=book,
                state=session.state(),
                reporter=reporter,
                planning_began=began,
            )
            legs = tuple(leg.leg for leg in each.group.legs)
            runs.append(kept.KeptRun(run_id=live.run_id, place=each.group.place.name, legs=legs))
        request = Request(
            comparison_id=new_run_id(compared(spec.name)),
            title=asked.title,
            created_at=began,
            command=shown(("gpurun", *sys.argv[1:])),
            repeats=asked.repeats or 1,
            target=asked.target,
            cited=asked.cited,
            cited_legs=asked.cited_legs,
            version=__version__,
        )
        record = ComparisonRecord(
            comparison_id=request.comparison_id,
            created_at=request.created_at,
            title=request.title,
            request=kept.dumps(kept.Kept(request=request, runs=tuple(runs), warnings=warnings)),
            run_ids=tuple(run.run_id for run in runs),
        )
        book.comparisons.create(record)
    except BaseException:
        compareattend.cancel([run.run_id for run in runs], book)
        raise
    reporter.note(f"comparison {record.comparison_id}: {', '.join(record.run_ids)}")
    return record, {run.run_id: each.group.label for run, each in zip(runs, planned, strict=True)}
