"""From what came home of a comparison's runs to all that can be told of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from launcher.compare.crossings import crossings
from launcher.compare.figures import leg_result
from launcher.compare.gather import trials
from launcher.compare.parity import parities
from launcher.compare.ratios import ratios
from launcher.compare.verdict import verdict
from launcher.comparison import Comparison, Leg, LegResult, Parity, Trial, TrialState
from launcher.domain import CitedLeg, RunId, SegmentCost


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for."""

    comparison_id: str
    title: str
    created_at: datetime
    command: tuple[str, ...]
    """As the user gave it."""
    repeats: int
    target: float | None = None
    cited: tuple[tuple[str, str], ...] = ()
    cited_legs: tuple[CitedLeg, ...] = ()
    version: str = ""
    """Of gpurun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRun:
    """The legs that share one run, and so one machine after the other, with what is there of it."""

    legs: tuple[Leg, ...]
    run_id: RunId | None = None
    """`None`: no run was made for them."""
    results: Path | None = None
    """The folder that its results came home to, such as the record's `results_dir`; `None`: nothing came home."""
    segments: tuple[SegmentCost, ...] = ()
    """Its machines with what they cost, up to now or in all: `Receipt.segments`, or `spending.bills`; none: one's own
    machine."""
    absent: TrialState = TrialState.MISSING
    """What has become of trials of which nothing came home."""
    reason: str = ""
    """Why nothing did, in plain words: `RunRecord.reason`, or the error that refused the run."""

    @property
    def cost_usd(self) -> float:
        """What all its machines cost."""
        return sum(segment.cost_usd for segment in self.segments)


def assemble(request: Request, runs: Sequence[LegRun], *, warnings: Iterable[str] = ()) -> Comparison:
    """All that is known of a comparison, whatever its runs have come to; reads their folders, and nothing else.

    Legs keep the order in which they are given. Never raises for what lies in the folders: see `gather.trials`.
    """
    legs = tuple(leg for run in runs for leg in _legs(run, request))
    folders = {run.run_id: run.results for run in runs if run.run_id is not None and run.results is not None}
    return put_together(request, legs, runs=runs, parities=parities(legs, folders), warnings=warnings)


def put_together(
    request: Request,
    legs: Sequence[LegResult],
    *,
    runs: Sequence[LegRun] = (),
    parities: Sequence[Parity] = (),
    warnings: Iterable[str] = (),
) -> Comparison:
    """What legs tell together: ratios, crossings, the verdict; reads nothing."""
    found = crossings(legs)
    return Comparison(
        comparison_id=request.comparison_id,
        title=request.title,
        created_at=request.created_at,
        command=request.command,
        repeats=request.repeats,
        target=request.target,
        legs=tuple(legs),
        ratios=ratios(legs),
        parities=tuple(parities),
        crossings=found,
        verdict=verdict(legs, parities, found),
        warnings=tuple(dict.fromkeys([*warnings, *(said for leg in legs for said in _warnings(leg))])),
        cited=request.cited,
        cited_legs=request.cited_legs,
        receipts=tuple((run.run_id, run.cost_usd, run.segments) for run in runs if run.run_id is not None),
        version=request.version,
    )


def price_usd_per_hour(segment: SegmentCost) -> float:
    """Of a machine with its disk and address, from its bill; where nothing is billed yet, of the machine alone."""
    return segment.cost_usd / segment.billed_s * 3600 if segment.billed_s else segment.price_usd_per_hour


def _legs(run: LegRun, request: Request) -> list[LegResult]:
    if run.results is None:
        found: tuple[Trial, ...] = ()
    else:
        found = trials(run.results, run.legs, request.repeats, target=request.target)
    return [_leg(run, leg, [trial for trial in found if trial.leg == leg.name], request) for leg in run.legs]


def _leg(run: LegRun, leg: Leg, found: Sequence[Trial], request: Request) -> LegResult:
    there = {trial.repeat: trial for trial in found if trial.state is not TrialState.MISSING}
    every = [there.get(repeat) or _absent(run, leg, repeat) for repeat in range(1, request.repeats + 1)]
    machines = [segment for segment in (_machine(run, trial) for trial in there.values()) if segment]
    return leg_result(
        leg,
        every,
        run_id=run.run_id,
        price_usd_per_hour=_mean(price_usd_per_hour(segment) for segment in machines or run.segments[-1:]),
        machine=" then ".join(dict.fromkeys(segment.instance_type for segment in machines or run.segments[-1:])),
    )


def _absent(run: LegRun, leg: Leg, repeat: int) -> Trial:
    reason = run.reason or "the run ended before it"
    return Trial(leg=leg.name, repeat=repeat, state=run.absent, reason=reason)


def _machine(run: LegRun, trial: Trial) -> SegmentCost | None:
    """Which of the run's machines a trial ran on: the last that was there when it began.

    The trial's moment is by the machine's clock and the segment's by ours: a wrong clock picks a neighbour, no more.
    """
    if not run.segments or trial.began_at is None:
        return run.segments[-1] if run.segments else None
    before = [segment for segment in run.segments if segment.began_at <= trial.began_at]
    return before[-1] if before else run.segments[0]


def _mean(prices: Iterable[float]) -> float:
    every = list(prices)
    return sum(every) / len(every) if every else 0.0


def _warnings(leg: LegResult) -> list[str]:
    """What a reader of this leg's figures must know."""
    name = leg.leg.name
    said = []
    if " then " in leg.machine:
        said.append(f"{name} ran on machines of several types ({leg.machine}): its trials are not alike")
    again = sum(trial.again for trial in leg.trials)
    if again:
        said.append(f"{name} was begun anew {'once' if again == 1 else f'{again} times'}: its machine was taken back")
    undone = [trial for trial in leg.trials if trial.state is not TrialState.DONE]
    if undone and leg.done:
        wrong = any(trial.state in {TrialState.FAILED, TrialState.WRONG_DEVICE} for trial in undone)
        look = f"; see: gpurun logs {leg.run_id}" if wrong and leg.run_id else ""
        said.append(f"{name} counts {len(leg.done)} of {len(leg.trials)} trials: {undone[0].reason}{look}")
    elif leg.state in {TrialState.FAILED, TrialState.WRONG_DEVICE}:
        said.append(f"{name}: {leg.state}: {leg.reason}")
    there = sum(trial.target_s is not None for trial in leg.done)
    if 0 < there < len(leg.done):
        said.append(f"{name} came to the target error in {there} of {len(leg.done)} trials: its time is of those alone")
    said += [f"{name}, repeat {trial.repeat}: {note}" for trial in leg.trials for note in trial.notes]
    return said
