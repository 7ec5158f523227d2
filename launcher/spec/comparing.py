"""What a comparison is asked for, value by value: from YAML or a flag to what the domain holds.

Each raises `ValueError` with what was wrong and what is expected.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

from launcher.spec import values

BACKENDS = ("tensorflow", "jax", "torch")
MAX_REPEATS = 100
MAX_VALUES = 100
"""Of one sweep: more is a slip of the keyboard."""
Point = tuple[tuple[str, str], ...]

_SETTING = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_VALUE = re.compile(r"[A-Za-z0-9_.,:+=/-]{1,60}")
_RANGE = re.compile(r"(\d{1,12})\.\.(\d{1,12})(?::(\d{1,12}))?")
_PLACE = re.compile(r"local|aws|ssh://[^\s+]+")
_TEXT_LIMIT = 300


def backend(value: object) -> str:
    """What Keras computes with."""
    word = str(value)
    if word not in BACKENDS:
        raise ValueError(f"{word!r} is not known, expected {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}")
    return word


def repeats(value: object) -> int:
    """How often each way is run."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_REPEATS:
        raise ValueError(f"{value!r} is not a number of repeats, expected 1 to {MAX_REPEATS}")
    return value


def target(value: object) -> float:
    """An error to get to."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"{value!r} is not an error to get to, expected a number above 0, such as 0.05")
    return float(value)


def places(value: object) -> str:
    """`same`, `best`, a place, or two of them: one for the CPU and one for the GPU."""
    text = str(value)
    parts = text.split("+", 1)
    if text in {"same", "best"} or (all(_PLACE.fullmatch(part) for part in parts) and len(set(parts)) == len(parts)):
        return text
    raise ValueError(
        f"{text!r} is no place to compare on, expected same, best, local, ssh://user@host, or two such as local+aws"
    )


def title(value: object) -> str:
    """A line of text."""
    text = values.text_of(str(value), "a line of text")
    if len(text) > _TEXT_LIMIT or not text.isprintable():
        raise ValueError(f"{text[:40]!r}... is not a title, expected one line of at most {_TEXT_LIMIT} characters")
    return text


def points(value: object) -> tuple[Point, ...]:
    """Of a mapping of names to values all combinations; of a list of mappings each as it stands."""
    if isinstance(value, Mapping):
        return combined([sweep(name, each) for name, each in value.items()])
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _distinct([_point(each) for each in value])
    raise ValueError("not a sweep, expected `name: values` lines, or a list of points such as {units: 10, epochs: 5}")


def combined(sweeps: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[Point, ...]:
    """Every combination of the sweeps' values; none of none."""
    names = [name for name, _ in sweeps]
    if len(set(names)) < len(names):
        raise ValueError(f"{max(names, key=names.count)} is swept twice, expected it once, with all its values")
    if not sweeps:
        return ()
    return _distinct(
        [tuple(zip(names, chosen, strict=True)) for chosen in itertools.product(*(found for _, found in sweeps))]
    )


def sweep_flag(text: str) -> tuple[str, tuple[str, ...]]:
    """`NAME=VALUES`."""
    name, equals, found = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} has no values, expected such as batch_size=32..4096")
    return sweep(name, found)


def sweep(name: object, found: object) -> tuple[str, tuple[str, ...]]:
    """A setting's name with its values: `32..4096` doubles, `10..500:10` steps, `10,50,100` are these.

    With a `;` the values are what lies between, commas and all: `2,5;4,10`.
    """
    if isinstance(found, str):
        chosen = [_value(each) for each in _listed(found)]
    else:
        chosen = [_value(each) for each in (found if isinstance(found, Sequence) else [found])]
    if not 1 <= len(chosen) <= MAX_VALUES:
        raise ValueError(f"{name} has {len(chosen)} values, expected 1 to {MAX_VALUES}")
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"{name} has {max(chosen, key=chosen.count)} twice, expected each value once")
    return _setting(name), tuple(chosen)


def _listed(text: str) -> list[str]:
    match = _RANGE.fullmatch(text.strip())
    if match:
        first, last, step = int(match[1]), int(match[2]), int(match[3]) if match[3] else None
        return [str(each) for each in (_doubled(first, last) if step is None else _stepped(first, last, step))]
    if ".." in text:
        raise ValueError(f"{text!r} is no range, expected such as 32..4096 (doubling) or 10..500:10 (by tens)")
    between = ";" if ";" in text else ","
    return [part.strip() for part in text.strip().strip(";").split(between)]


def _doubled(first: int, last: int) -> list[int]:
    if not 0 < first < last:
        raise ValueError(f"{first}..{last} doubles nothing, expected a first value above 0 and a larger last one")
    found = [first]
    while found[-1] * 2 < last:
        found.append(found[-1] * 2)
    return [*found, last]


def _stepped(first: int, last: int, step: int) -> list[int]:
    if step < 1 or first >= last or (last - first) // step >= MAX_VALUES:
        raise ValueError(
            f"{first}..{last}:{step} is no range, expected a larger last value and 2 to {MAX_VALUES} values"
        )
    found = [*range(first, last + 1, step)]
    return found if found[-1] == last else [*found, last]


def _point(value: object) -> Point:
    if not isinstance(value, Mapping) or not value:
        raise ValueError("a point of a sweep is no mapping, expected such as {hidden_units: 10, epochs: 5}")
    return tuple((_setting(name), _value(each)) for name, each in value.items())


def _distinct(found: list[Point]) -> tuple[Point, ...]:
    if len(set(found)) < len(found):
        raise ValueError("a point of the sweep is there twice, expected each once")
    return tuple(found)


def _setting(name: object) -> str:
    text = str(name).strip()
    if not _SETTING.fullmatch(text):
        raise ValueError(f"{text!r} cannot name a setting, expected letters, digits, '_' and '-', such as batch_size")
    return text


def _value(value: object) -> str:
    if isinstance(value, list | tuple):  # such as kernels: [2, 5]
        return ",".join(_value(each) for each in value)
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value).strip()
    if not _VALUE.fullmatch(text):
        raise ValueError(f"{text!r} cannot be a setting's value, expected such as 64, 0.1, adam or 2,5")
    return text
