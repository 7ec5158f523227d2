"""How the learning rate, or the momentum, moves over a training: a formula of time, with no state to lose.

    constant     a
    step         a * factor ^ floor(t / every)
    exponential  a * exp(-decay * t)
    inverse      a / (1 + decay * t)
    linear       from a to `stop`, even steps over the whole training
    cosine       from a tenth of a up to a over the share `warm_up` of the training, then half a cosine down to 0

a is what the training was told, t the time since its start: whole epochs with `per=epoch`, steps with `per=step`.

Sources: deck 0 for step (halved every 5, 10 or 20), exponential and 1/t, which counts t in iterations and calls an
epoch an iteration: `per=epoch` unless told otherwise. Deck 2's AdjustVariable for linear, for rate and momentum
alike: linspace(start, stop, epochs), by epoch. Cosine is Loshchilov and Hutter 2017 without restarts, by step.

Two lines of the decks are not taken by the letter. Deck 0's example halves where `iter % 10 == 0`, so also before
the first iteration; here the first `every` have the whole rate. Deck 2 sets an epoch's value when that epoch is over,
so its `stop` is never trained with; here the last epoch has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs import option
from jobs.option import Number, OneOf, Option

SCHEDULES: Mapping[str, str] = MappingProxyType(
    {
        "constant": "the same all through",
        "step": "times `factor` every so often (deck 0)",
        "exponential": "exponential decay (deck 0)",
        "inverse": "1/t decay (deck 0)",
        "linear": "in even steps to `stop` (deck 2)",
        "cosine": "warm-up, then half a cosine down to 0",
    }
)


def _per(default: str) -> OneOf:
    return OneOf(default=default, meaning="what time counts in", words=("epoch", "step"))


_OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "constant": {},
    "step": {
        "every": Number(default=10, meaning="epochs or steps from one change to the next", at_least=1, whole=True),
        "factor": Number(default=0.5, meaning="what is left at a change", above=0.0),
        "per": _per("epoch"),
    },
    "exponential": {"decay": Number(default=0.05, meaning="the deck's lambda", at_least=0.0), "per": _per("epoch")},
    "inverse": {"decay": Number(default=0.1, meaning="the deck's k", at_least=0.0), "per": _per("epoch")},
    "linear": {"stop": Number(default=0.0001, meaning="where it ends", at_least=0.0), "per": _per("epoch")},
    "cosine": {
        "warm_up": Number(default=0.15, meaning="share of the training that it rises", at_least=0.0, below=1.0),
        "per": _per("step"),
    },
}

OPTIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {name: option.defaults(options) for name, options in _OPTIONS.items()}
)
"""By schedule: its options, each with its default."""


def check(name: str, options: Mapping[str, Any]) -> None:
    """Raise `JobError` for a schedule or an option that there is not, or a value that cannot be."""
    option.check("schedule", _OPTIONS, name, options)


def meanings(name: str) -> dict[str, str]:
    """What each option of the schedule is."""
    return {each: known.meaning for each, known in _OPTIONS[name].items()}


def rates(
    name: str,
    options: Mapping[str, Any],
    initial: float,
    first_step: int,
    last_step: int,
    steps_per_epoch: int,
    total_steps: int,
) -> NDArray[np.float64]:
    """The values for the steps first_step .. last_step - 1 of a training of `total_steps`: (last_step - first_step,).

    Steps count from the start of the training and not from a resume, so that any cut gives the same values. Raises
    `JobError` as `check` does.
    """
    check(name, options)
    chosen = {**OPTIONS[name], **options}
    step = np.arange(first_step, last_step)
    per_epoch = chosen.get("per") == "epoch"
    time = step // steps_per_epoch if per_epoch else step
    length = -(-total_steps // steps_per_epoch) if per_epoch else total_steps
    share = np.ones(len(step), np.float64)
    if name == "step":
        share = np.float64(chosen["factor"]) ** (time // chosen["every"])
    elif name == "exponential":
        share = np.exp(-chosen["decay"] * time)
    elif name == "inverse":
        share = 1.0 / (1.0 + chosen["decay"] * time)
    elif name == "cosine":
        share = _cosine(np.minimum(time / max(length, 1), 1.0), chosen["warm_up"])
    elif name == "linear":
        whole_way = np.float64(chosen["stop"]) - initial
        return initial + whole_way * np.minimum(time / max(length - 1, 1), 1.0)
    return initial * share


def _cosine(progress: NDArray[np.float64], warm_up: float) -> NDArray[np.float64]:
    """The share of the rate at each point 0 .. 1 of the training."""
    falling = 0.5 * (1.0 + np.cos(np.pi * (progress - warm_up) / (1.0 - warm_up)))
    if warm_up == 0.0:
        return falling
    return np.where(progress < warm_up, 0.1 + 0.9 * progress / warm_up, falling)
