"""A comparison from the ledger and its runs' folders, whatever has become of whoever began it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from launcher import spending
from launcher.compare.assemble import LegRun, assemble
from launcher.compare.kept import Kept, KeptRun
from launcher.comparison import Comparison, LegResult, TrialState
from launcher.domain import SegmentCost
from launcher.errors import SpecError
from launcher.ledger import Ledger, RunRecord, receipt_from_text


def put(kept: Kept, book: Ledger) -> Comparison:
    """All that is known now; what a run has not brought home yet is missing, and says why."""
    return assemble(kept.request, [_run(each, book) for each in kept.runs], warnings=kept.warnings)


def unfinished(kept: Kept, book: Ledger) -> tuple[RunRecord, ...]:
    """The runs that are not over."""
    return tuple(record for record in records(kept, book) if not record.status.final)


def records(kept: Kept, book: Ledger) -> tuple[RunRecord, ...]:
    """Its runs, as the ledger knows them."""
    return tuple(book.get(run.run_id) for run in kept.runs)


def sound(comparison: Comparison) -> bool:
    """Whether every trial was done, on the device that it was meant for, as far as its machine had one.

    Legs without a device are told and marked; that they were not run is no failure.
    """
    good = {TrialState.DONE, TrialState.NO_DEVICE}
    every = all(trial.state in good for leg in comparison.legs for trial in leg.trials)
    return every and any(leg.done for leg in comparison.legs) and all(each.equal_steps for each in comparison.parities)


def failures(comparison: Comparison) -> tuple[LegResult, ...]:
    """The legs of which some trial went wrong."""
    good = {TrialState.DONE, TrialState.NO_DEVICE}
    return tuple(leg for leg in comparison.legs if any(trial.state not in good for trial in leg.trials))


def _run(run: KeptRun, book: Ledger) -> LegRun:
    try:
        record = book.get(run.run_id)
    except SpecError as error:  # its row is gone
        return LegRun(legs=run.legs, run_id=run.run_id, reason=error.message)
    folder = Path(record.results_dir)
    return LegRun(
        legs=run.legs,
        run_id=run.run_id,
        results=folder if folder.is_dir() else None,
        segments=_segments(record, book),
        reason=_reason(record),
    )


def _segments(record: RunRecord, book: Ledger) -> tuple[SegmentCost, ...]:
    receipt = receipt_from_text(record.receipt) if record.receipt else None
    if receipt is not None and receipt.segments:
        return receipt.segments
    return spending.bills(record, book.segments(record.run_id), datetime.now(UTC))


def _reason(record: RunRecord) -> str:
    if not record.status.final:
        return f"run {record.run_id} is not over: {record.status}"
    return record.reason
