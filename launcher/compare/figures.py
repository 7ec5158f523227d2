"""What the trials of a leg come to: medians with what lies around them, and dollars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from launcher.comparison import Leg, LegResult, Spread, Trial, TrialState
from launcher.domain import RunId


def leg_result(
    leg: Leg, trials: Sequence[Trial], *, run_id: RunId | None, price_usd_per_hour: float, machine: str = ""
) -> LegResult:
    """All trials of a leg and their figures; only those that are done count.

    `price_usd_per_hour` is of the machine with its disk and address; 0 for one's own. Dollars are the median's seconds
    at that price: what the training costs, without the boot of the machine, which the receipts tell.
    """
    done = [trial for trial in trials if trial.state is TrialState.DONE]
    elapsed_s = spread(trial.usage.elapsed_s for trial in done if trial.usage)
    epoch_s = spread(trial.epoch_s for trial in done)
    target_s = spread(trial.target_s for trial in done)
    return LegResult(
        leg=leg,
        run_id=run_id,
        price_usd_per_hour=price_usd_per_hour,
        machine=machine,
        trials=tuple(trials),
        elapsed_s=elapsed_s,
        ready_s=spread(trial.ready_s for trial in done),
        warm_up_s=spread(trial.warm_up_s for trial in done),
        train_s=spread(trial.train_s for trial in done),
        first_epoch_s=spread(trial.first_epoch_s for trial in done),
        epoch_s=epoch_s,
        samples_per_s=spread(trial.samples_per_s for trial in done),
        target_s=target_s,
        usd_per_run=_usd(elapsed_s, price_usd_per_hour),
        usd_per_epoch=_usd(epoch_s, price_usd_per_hour),
        usd_to_target=_usd(target_s, price_usd_per_hour),
        final_cost=_median(trial.final_cost for trial in done),
        final_error=_median(trial.final_error for trial in done),
    )


def spread(values: Iterable[float | None]) -> Spread | None:
    """The median, the least and the most of those that are known; `None` where none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(median=median(known), least=min(known), most=max(known), count=len(known))


def elapsed_s(trial: Trial) -> float | None:
    """From the process's start to its end."""
    return trial.usage.elapsed_s if trial.usage else None


def usd_of(seconds: float, price_usd_per_hour: float) -> float:
    """What so long a time costs."""
    return price_usd_per_hour / 3600 * seconds


def _usd(seconds: Spread | None, price_usd_per_hour: float) -> float | None:
    return usd_of(seconds.median, price_usd_per_hour) if seconds else None


def _median(values: Iterable[float | None]) -> float | None:
    found = spread(values)
    return found.median if found else None
