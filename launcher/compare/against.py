"""A comparison against an older one: what has become slower, dearer or worse by more than the trials scatter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.compare.figures import spread
from launcher.comparison import Comparison, LegResult, Parity, Spread

SLACK = 0.03
"""A share: two sets of trials whose spreads lie apart by less are called the same, as nobody runs enough of them."""
SLACK_ONCE = 0.10
"""Where either was measured once, so that nothing is known of its spread."""
WORSE_ERROR = 0.05
"""A share of the older error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A figure of a leg that is not what it was."""

    leg: str
    what: str
    """elapsed, train, epoch, target, usd, memory, error, state or parity."""
    worse: bool
    """Whether it is a regression; else an improvement."""
    before: float | None
    after: float | None
    said: str
    """In plain words, with the numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """What two comparisons tell together."""

    before_id: str
    after_id: str
    changes: tuple[Change, ...]
    """Regressions first."""
    untold: tuple[str, ...]
    """What could not be compared, in plain words."""

    @property
    def regressions(self) -> tuple[Change, ...]:
        """What got worse."""
        return tuple(change for change in self.changes if change.worse)


def against(before: Comparison, after: Comparison) -> Against:
    """Every leg that both have, by name."""
    old = {leg.leg.name: leg for leg in before.legs}
    new = {leg.leg.name: leg for leg in after.legs}
    found = [change for name in new if name in old for change in _changes(old[name], new[name])]
    found += _parities(before, after)
    return Against(
        before_id=before.comparison_id,
        after_id=after.comparison_id,
        changes=tuple(sorted(found, key=lambda change: not change.worse)),
        untold=tuple(_untold(before, after, old, new)),
    )


def _changes(before: LegResult, after: LegResult) -> Iterator[Change]:
    name = after.leg.name
    if bool(before.done) != bool(after.done):
        yield _state(before, after)
    if not before.done or not after.done:
        return
    for what, old, new in (
        ("train", before.train_s, after.train_s),
        ("elapsed", before.elapsed_s, after.elapsed_s),
        ("epoch", before.epoch_s, after.epoch_s),
        ("target", before.target_s, after.target_s),
        ("memory", _memory_mib(before), _memory_mib(after)),
        ("usd", _usd(before), _usd(after)),
    ):
        yield from _spreads(name, what, old, new)
    if before.target_s and not after.target_s:
        said = f"{name}: no longer gets to the target error, which took it {before.target_s.median:.4g} s"
        yield Change(leg=name, what="target", worse=True, before=before.target_s.median, after=None, said=said)
    yield from _errors(before, after)


def _spreads(name: str, what: str, old: Spread | None, new: Spread | None) -> Iterator[Change]:
    """A change where even the nearest trials of both lie apart by more than the slack."""
    if not old or not new or old.median <= 0:
        return
    slack = SLACK if min(old.count, new.count) > 1 else SLACK_ONCE
    worse, better = new.least > old.most * (1 + slack), new.most * (1 + slack) < old.least
    if worse or better:
        yield Change(
            leg=name,
            what=what,
            worse=worse,
            before=old.median,
            after=new.median,
            said=f"{name}: {_WORDS[what]} {_told(old, what)}, now {_told(new, what)} ({_percent(old, new)})",
        )


def _errors(before: LegResult, after: LegResult) -> Iterator[Change]:
    """The final error, beyond both what its repeats scatter and a twentieth of it."""
    old = [trial.final_error for trial in before.done if trial.final_error is not None]
    new = [trial.final_error for trial in after.done if trial.final_error is not None]
    if not old or not new:
        return
    slack = WORSE_ERROR * max(old)
    worse, better = min(new) > max(old) + slack, max(new) + slack < min(old)
    if (worse or better) and before.final_error is not None and after.final_error is not None:
        yield Change(
            leg=after.leg.name,
            what="error",
            worse=worse,
            before=before.final_error,
            after=after.final_error,
            said=f"{after.leg.name}: the final error was {before.final_error:.4g}, now {after.final_error:.4g}",
        )


def _state(before: LegResult, after: LegResult) -> Change:
    name = after.leg.name
    if after.done:
        said = f"{name}: was not done ({before.state}), and is now"
    else:
        said = f"{name}: was done, and is not now ({after.state}{f': {after.reason}' if after.reason else ''})"
    return Change(leg=name, what="state", worse=not after.done, before=None, after=None, said=said)


def _parities(before: Comparison, after: Comparison) -> Iterator[Change]:
    """A leg that computed the same as its reference, and no longer does, or the other way round."""
    old: dict[str, Parity] = {parity.leg: parity for parity in before.parities}
    for new in after.parities:
        was = old.get(new.leg)
        if was is None or was.holds == new.holds or not (was.holds or was.exceeded) or not (new.holds or new.exceeded):
            continue
        why = "" if new.holds else f": {new.exceeded[0]}"
        said = f"{new.leg}: {'now computes' if new.holds else 'no longer computes'} the same as {new.reference}{why}"
        yield Change(
            leg=new.leg,
            what="parity",
            worse=not new.holds,
            before=was.largest_weight_difference,
            after=new.largest_weight_difference,
            said=said,
        )


def _untold(
    before: Comparison, after: Comparison, old: dict[str, LegResult], new: dict[str, LegResult]
) -> Iterator[str]:
    for name in new:
        if name not in old:
            yield f"{name} is not in {before.comparison_id}"
    for name in old:
        if name not in new:
            yield f"{name} is not in {after.comparison_id}"
    for was, now in ((old[name], leg) for name, leg in new.items() if name in old):
        one, other = _hardware(was), _hardware(now)
        if one and other and one != other:
            yield f"{now.leg.name} ran on other hardware: {one}, now {other}"
        steps = {trial.steps for leg in (was, now) for trial in leg.done if trial.steps is not None}
        if len(steps) > 1:
            told = ", ".join(str(each) for each in sorted(steps))
            yield f"{now.leg.name} did not do the same number of steps in both: {told}"


def _hardware(leg: LegResult) -> str:
    """Told by the machine itself; by its instance type where it does not say."""
    machine = next((trial.machine for trial in leg.done if trial.machine), None)
    return " ".join(filter(None, (leg.machine, machine.processor if machine else "", machine.gpu if machine else "")))


def _usd(leg: LegResult) -> Spread | None:
    """Dollars a run, with the spread of its seconds."""
    if not leg.elapsed_s or not leg.price_usd_per_hour:
        return None
    price = leg.price_usd_per_hour / 3600
    seconds = leg.elapsed_s
    return Spread(
        median=seconds.median * price, least=seconds.least * price, most=seconds.most * price, count=seconds.count
    )


def _memory_mib(leg: LegResult) -> Spread | None:
    return spread(trial.usage.max_rss_kib / 1024 for trial in leg.done if trial.usage)


_WORDS = {
    "train": "training took",
    "elapsed": "the whole process took",
    "epoch": "an epoch took",
    "target": "getting to the target error took",
    "memory": "peak memory was",
    "usd": "a run cost",
}


def _told(found: Spread, what: str) -> str:
    sign, unit = ("$", "") if what == "usd" else ("", " MiB" if what == "memory" else " s")
    if found.count == 1:
        return f"{sign}{found.median:.4g}{unit}"
    return f"{sign}{found.median:.4g}{unit} ({found.least:.4g} to {found.most:.4g})"


def _percent(old: Spread, new: Spread) -> str:
    return f"{100 * (new.median / old.median - 1):+.0f} %"
