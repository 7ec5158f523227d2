"""Whether a challenger takes the champion's place: decided by what is handed in, and by nothing else."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher.errors import SpecError

BETTER = ("lower", "higher")
MANY_CANARIES = 1000
SHOWN = 3
"""Reasons of one kind that are told; of more the count."""
MAX_TEXT = 1000
HUGE = 10**300
_GAIN = re.compile(r"(\d{1,12}(?:\.\d{1,12})?(?:[eE]-?\d{1,2})?)\s*(%?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a schedule asks of a challenger."""

    metric: str
    better: str
    """`lower` or `higher`."""
    min_gain: float = 0.0
    """It must be better at all, and by so much."""
    relative: bool = False
    """Whether `min_gain` is a share of the champion's value."""
    canary: int = 1
    """So many good retrains in a row are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayKind:
    """What one array is, without its numbers."""

    shape: tuple[int, ...]
    dtype: str
    finite: bool = True
    """Whether every number in it is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is known of a version, beside how well it does."""

    name: str
    """NAME@NUMBER."""
    arrays: Mapping[str, Mapping[str, ArrayKind]]
    """By weights file and array."""
    sha256: frozenset[str]
    """Of its weights files."""
    schema: Mapping[str, Any] = field(default_factory=dict)
    """What its network takes and answers, as its job told it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate says, and why."""

    promote: bool
    good: bool
    """Whether all was as it should be, though more such retrains may be asked for."""
    reasons: tuple[str, ...]

    @property
    def text(self) -> str:
        """The reasons in a line; names and faults come from the job, and go to a terminal."""
        plain = "".join(each if each.isprintable() else "?" for each in "; ".join(self.reasons))
        return plain if len(plain) <= MAX_TEXT else f"{plain[:MAX_TEXT]} .."


def parse_gain(text: str) -> tuple[float, bool]:
    """(amount, whether it is a share) of `0.1%` or `0.001`; raises `SpecError`."""
    found = _GAIN.fullmatch(text.strip())
    if found is None:
        raise SpecError(
            f"--min-gain {text!r:.40} is no gain", hint="0.1% of the champion's value, or without % in the metric's own"
        )
    amount = float(found[1])
    return (amount / 100, True) if found[2] else (amount, False)


def judge(
    evaluation: object, wish: Wish, challenger: Candidate, champion: Candidate | None, *, good_before: int = 0
) -> Verdict:
    """Compare them by what one run measured of both; `good_before`: good retrains in a row before this one.

    `evaluation` is what the job wrote, and not believed: {"challenger": {metric: number, .., "sha256"}, "champion":
    the same or null, "rows_sha256"}. Without a champion the challenger must only be whole and finite.
    """
    faults = [*_finite(challenger), *(_form(challenger, champion) if champion else [])]
    if champion is None and evaluation is None:
        return _verdict(faults, "the first of its name")
    own, rival = _part(evaluation, "challenger"), _part(evaluation, "champion")
    faults += _side(own, challenger, wish.metric, "the challenger") + _not_finite(own)
    if champion is None:
        return _verdict(faults, "the first of its name")
    faults += _side(rival, champion, wish.metric, f"the champion {champion.name}")
    if not _rows(evaluation):
        faults.append("the evaluation does not say on which rows (rows_sha256)")
    if faults:
        return _verdict(faults, "")
    gained, told = _gain(float(own[wish.metric]), float(rival[wish.metric]), wish, champion.name)
    if not gained:
        return _verdict([told], "")
    if good_before + 1 < wish.canary:
        waits = f"good, {good_before + 1} of {wish.canary} in a row: {told}"
        return Verdict(promote=False, good=True, reasons=(waits,))
    return _verdict([], told)


def schema_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a job's result.json says of its inputs and answers; empty where it says nothing."""
    told = result.get("schema")
    return dict(told) if isinstance(told, Mapping) else {}


def _verdict(faults: list[str], told: str) -> Verdict:
    return Verdict(promote=not faults, good=not faults, reasons=tuple(faults) or (told,))


def _finite(challenger: Candidate) -> list[str]:
    wrong = [
        f"{file}: {name}"
        for file, arrays in challenger.arrays.items()
        for name, kind in arrays.items()
        if not kind.finite
    ]
    return [f"not finite: {_some(wrong)}"] if wrong else []


def _form(challenger: Candidate, champion: Candidate) -> list[str]:
    """Why it could not stand where the champion stands."""
    ours, theirs = _flat(challenger), _flat(champion)
    faults = [f"{key} is missing, {champion.name} has it" for key in theirs if key not in ours]
    faults += [f"{key} is new" for key in ours if key not in theirs]
    faults += [
        f"{key} is {_form_text(ours[key])}, of {champion.name} {_form_text(theirs[key])}"
        for key in theirs
        if key in ours and (ours[key].shape, ours[key].dtype) != (theirs[key].shape, theirs[key].dtype)
    ]
    shapes = [f"other arrays than expected: {_some(faults)}"] if faults else []
    return shapes + _schema(challenger, champion)


def _schema(challenger: Candidate, champion: Candidate) -> list[str]:
    """What was never told cannot have changed; what was told once must be told again."""
    if not champion.schema:
        return []
    names = [*champion.schema, *(name for name in challenger.schema if name not in champion.schema)]
    unlike = [
        f"{name} {challenger.schema.get(name)!r:.80}, was {champion.schema.get(name)!r:.80}"
        for name in names
        if challenger.schema.get(name) != champion.schema.get(name)
    ]
    return [f"the input schema changed: {_some(unlike)}"] if unlike else []


def _part(evaluation: object, name: str) -> Mapping[str, Any]:
    part = evaluation.get(name) if isinstance(evaluation, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _rows(evaluation: object) -> bool:
    told = evaluation.get("rows_sha256") if isinstance(evaluation, Mapping) else None
    return isinstance(told, str) and bool(told)


def _side(told: Mapping[str, Any], candidate: Candidate, metric: str, who: str) -> list[str]:
    """Why a part of the evaluation says nothing of those weights."""
    if not told:
        return [f"the run did not evaluate {who}"]
    if told.get("problem"):
        return [f"{who} could not be evaluated: {told['problem']!s:.300}"]
    if str(told.get("sha256")) not in candidate.sha256:
        return [f"the run evaluated other weights than those of {candidate.name} (sha256)"]
    if not _number(told.get(metric)):
        known = ", ".join(sorted(str(name) for name, value in told.items() if _number(value))[:10])
        return [f"the evaluation of {who} has no {metric}; it has {known or 'no number at all'}"]
    return []


def _not_finite(own: Mapping[str, Any]) -> list[str]:
    """Metric, loss and whatever else was measured."""
    wrong = [f"{name} is {value}" for name, value in own.items() if _number(value) and not math.isfinite(value)]
    return [f"not finite: {_some(wrong)}"] if wrong else []


def _gain(own: float, rival: float, wish: Wish, champion: str) -> tuple[bool, str]:
    gain = rival - own if wish.better == "lower" else own - rival
    asked = wish.min_gain * abs(rival) if wish.relative else wish.min_gain
    told = f"{wish.metric} {own:.6g} against {rival:.6g} of {champion}"
    if not math.isfinite(rival):
        return True, told
    if gain > 0 and gain >= asked:
        return True, told
    if gain > 0:
        return False, f"{told}: better by {gain:.3g}, {asked:.3g} is asked for"
    return False, f"{told}: not better"


def _number(value: object) -> bool:
    """Of JSON, NaN and Infinity among them, as Python reads it; no integer that is too large for a float."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < HUGE)


def _flat(candidate: Candidate) -> dict[str, ArrayKind]:
    return {f"{file}: {name}": kind for file, arrays in candidate.arrays.items() for name, kind in arrays.items()}


def _form_text(kind: ArrayKind) -> str:
    return f"{kind.dtype} {' x '.join(map(str, kind.shape)) or 'scalar'}"


def _some(told: list[str]) -> str:
    more = len(told) - SHOWN
    return ", ".join(told[:SHOWN]) + (f" and {more} more" if more > 0 else "")
