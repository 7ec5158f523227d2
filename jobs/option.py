"""What an option of an optimiser, a schedule or a method may be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.catalogue import nearest
from jobs.errors import JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A finite number within bounds; a whole one where `whole`."""

    default: float
    meaning: str
    at_least: float = -math.inf
    above: float = -math.inf
    below: float = math.inf
    at_most: float = math.inf
    whole: bool = False

    def __str__(self) -> str:
        """As in `expected a number of at least 0, below 1`."""
        bounds = {"of at least": self.at_least, "above": self.above, "below": self.below, "of at most": self.at_most}
        said = [f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound)]
        return " ".join(["a whole number" if self.whole else "a number", ", ".join(said)]).strip()

    def allows(self, value: object) -> bool:
        """Whether `value` is such a number; a truth value is none."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        return self.at_least <= value <= self.at_most and self.above < value < self.below


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """One of some words."""

    default: str
    meaning: str
    words: Sequence[str]

    def __str__(self) -> str:
        """As in `expected epoch or step`."""
        return " or ".join(self.words)

    def allows(self, value: object) -> bool:
        """Whether `value` is one of them."""
        return value in self.words


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """True or false."""

    default: bool
    meaning: str

    def __str__(self) -> str:
        """As in `expected true or false`."""
        return "true or false"

    def allows(self, value: object) -> bool:
        """Whether `value` is one of both; a number is neither."""
        return isinstance(value, bool)


Option = Number | OneOf | Truth


def defaults(options: Mapping[str, Option]) -> dict[str, float | str]:
    """The value that each has unless another is given."""
    return {name: option.default for name, option in options.items()}


def check(kind: str, known: Mapping[str, Mapping[str, Option]], name: str, given: Mapping[str, Any]) -> None:
    """Raise `JobError` where `known` has no `name`, `name` no such option, or the option no such value.

    `kind` is what `name` should be, as the message says it: "optimizer", "schedule", ..
    """
    if name not in known:
        raise JobError(f"unknown {kind} {name!r}{nearest(name, known)}")
    options = known[name]
    for option, value in given.items():
        if option not in options:
            help_ = nearest(option, options) if options else ": it has none"
            raise JobError(f"{kind} {name} has no option {option!r}{help_}")
        if not options[option].allows(value):
            raise JobError(f"{kind} {name}: {option} is {value!r}: expected {options[option]}")
