"""A choice by name with options of its own: `momentum,momentum=0.9`, as the command line and config files write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jobs.errors import JobError

Value = int | float | str | bool


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and how it is to be."""

    name: str
    options: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        """As it is written."""
        return ",".join([self.name, *(f"{name}={value}" for name, value in self.options.items())])


def parse(setting: str, value: object) -> Choice:
    """Read `name,option=value,..`, or a table {name = .., option = ..}; raises `JobError` for anything else.

    `setting` is what the choice is for, as the message names it.
    """
    if isinstance(value, Choice):
        return value
    if isinstance(value, Mapping):
        options = {str(key): option for key, option in value.items() if key != "name"}
        name = value.get("name")
        if isinstance(name, str) and name and all(isinstance(each, Value) for each in options.values()):
            return Choice(name, options)
        raise JobError(f"{setting} is {dict(value)}: expected {{name = .., option = ..}}")
    if not isinstance(value, str) or not value.strip():
        raise JobError(f"{setting} is {value!r}: expected a name, or name,option=value,..")
    name, *texts = (part.strip() for part in value.split(","))
    if not name:
        raise JobError(f"{setting} is {value!r}: expected a name, or name,option=value,..")
    pairs = [_pair(setting, text) for text in texts]
    options = dict(pairs)
    if len(options) < len(pairs):
        raise JobError(f"{setting} is {value!r}: an option is said twice")
    return Choice(name, options)


def _pair(setting: str, text: str) -> tuple[str, Value]:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise JobError(f"{setting}: {text!r} is no option=value")
    return name.strip(), number_or_text(value.strip())


def number_or_text(text: str) -> Value:
    """The value that `text` writes: a truth value, a whole number, a number, or else itself."""
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
