"""When to stop by what the validation rows say: the rules of two decks.

Whoever trains keeps the weights when a verdict says `improved`, and gives the last kept ones back after `stop`: all
rules return the parameters that did best, not the last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from jobs import option
from jobs.option import Number, Option

State = dict[str, Any]
"""Plain JSON: {"best", "best_epoch", "best_step", "limit"}; `best` and `limit` are None until there is one."""

RULES: Mapping[str, str] = MappingProxyType(
    {
        "early-1": "no new best for `patience` epochs, and `min_epochs` done (deck 4's first)",
        "early-2": "past a limit of batches that every clear improvement moves on (deck 4's second)",
        "since-best": "the best is more than `patience` epochs back (deck 2)",
    }
)
OPTIONS: Mapping[str, Mapping[str, Option]] = MappingProxyType(
    {
        "early-1": {
            "patience": Number(default=20, meaning="epochs without a new best", at_least=1, whole=True),
            "min_epochs": Number(default=50, meaning="epochs that are trained in any case", at_least=0, whole=True),
        },
        "early-2": {
            "first_limit": Number(default=5000, meaning="batches that are trained in any case", at_least=1, whole=True),
            "factor": Number(default=2.0, meaning="times the batches so far is the new limit", above=1.0),
            "threshold": Number(default=0.005, meaning="share of the best that is clear", at_least=0.0, below=1.0),
        },
        "since-best": {"patience": Number(default=100, meaning="epochs back to the best", at_least=0, whole=True)},
    }
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one value of the validation cost or error means."""

    improved: bool  # the best so far: keep these weights
    stop: bool  # end the training, with the weights that were kept


class EarlyOne:
    """Deck 4's first rule: stop after `patience` epochs without a new best, but not before `min_epochs` are done.

    The deck's own numbers: 50 epochs at least, a patience of 20.
    """

    def __init__(self, *, patience: int, min_epochs: int) -> None:
        self.patience, self.min_epochs = patience, min_epochs
        self.state: State = {"best": None, "best_epoch": 0, "best_step": 0, "limit": None}

    def observe(self, epoch: int, step: int, value: float) -> Verdict:
        """Judge `value` (less is better; NaN never is) after `epoch` epochs and `step` batches, counted from 1."""
        improved = _improved(self.state, epoch, step, value)
        done = epoch >= self.min_epochs and epoch - self.state["best_epoch"] >= self.patience
        return Verdict(improved=improved, stop=done)


class EarlyTwo:
    """Deck 4's second rule: a limit of batches, which every clear improvement moves to `factor` times those done.

    It never comes back down, and the training stops at the first value that is judged past it. Clear is an
    improvement by more than `threshold` of the best so far; a smaller one is kept as the best but buys no time.
    The deck counts data points where this counts batches: the ratio is the same. Judge as often as you like.
    Source: deck 4, without numbers; by default those of the Theano tutorial's logistic regression (deeplearning.net,
    whose figures deck 1 shows): 5,000 batches, twice, 0.5 %.
    """

    def __init__(self, *, first_limit: int, factor: float, threshold: float) -> None:
        self.factor, self.threshold = factor, threshold
        self.state: State = {"best": None, "best_epoch": 0, "best_step": 0, "limit": first_limit}

    def observe(self, epoch: int, step: int, value: float) -> Verdict:
        """Judge `value` (less is better; NaN never is) after `epoch` epochs and `step` batches, counted from 1."""
        best = self.state["best"]
        improved = _improved(self.state, epoch, step, value)
        if improved and (best is None or best - value > self.threshold * abs(best)):
            self.state["limit"] = max(self.state["limit"], self.factor * step)
        return Verdict(improved=improved, stop=step > self.state["limit"])


Rule = EarlyOne | EarlyTwo


def make(name: str, **options: Any) -> Rule:
    """The rule of that name at its start; to go on from a checkpoint, assign its `state`. Raises `JobError`."""
    option.check("rule of early stopping", OPTIONS, name, options)
    chosen: dict[str, Any] = option.defaults(OPTIONS[name]) | options
    if name == "early-2":
        return EarlyTwo(**chosen)
    if name == "since-best":  # it stops once the epochs since the best exceed its patience, deck 4's once they reach it
        return EarlyOne(patience=chosen["patience"] + 1, min_epochs=0)
    return EarlyOne(**chosen)


def _improved(state: State, epoch: int, step: int, value: float) -> bool:
    """Whether `value` is a new best; it is then in `state`. Equal is none, as in every deck."""
    if not value < (math.inf if state["best"] is None else state["best"]):
        return False
    state |= {"best": value, "best_epoch": epoch, "best_step": step}
    return True
