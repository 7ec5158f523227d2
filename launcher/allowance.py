"""The run's budget, held to before each machine that is asked for."""

from __future__ import annotations

from launcher import budget
from launcher.live import LiveRun, now


def hold(live: LiveRun) -> None:
    """Draw the run's deadline in to what its machines so far have left of the budget; raises `BudgetExceeded`."""
    segments = live.ledger.segments(live.run_id)
    if not segments:
        return  # the plan has set it
    at = budget.deadline(
        live.spec.limits,
        now(),  # max_hours count from when the first machine was asked for, and are in the present deadline
        segments,
        live.plan.dearest,
        max(live.spec.resources.disk_gib, live.plan.image.root_size_gib),
        now(),
        live.deadline,
    )
    if at < live.deadline:
        live.update(deadline_at=at)
