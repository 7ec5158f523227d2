"""Figures from elsewhere that a spec wants beside the measured ones: lines of text, or figures of a leg.

Raises `ValueError` with what was wrong and what is expected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from launcher.domain import CitedLeg, Device, FloatX
from launcher.spec import comparing, values
from launcher.spec.mistakes import nearest

Line = tuple[str, str]
MOST = 100
LEG_KEYS = ("device", "floatx", "backend", "at", "seconds", "elapsed_seconds", "error", "by", "source")
FIGURES = ("seconds", "elapsed_seconds", "error")
_EXPECTED = "expected `what: figure (source)` lines, or entries such as {device: gpu, seconds: 17.9, error: 5.8 %}"
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)\s*%")


def cited(value: object) -> tuple[Line | CitedLeg, ...]:
    """Of a mapping its lines; of a list, mappings of lines, and those with a `device` as figures of a leg."""
    entries = [value] if isinstance(value, Mapping) else value
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ValueError(f"not a list of figures, {_EXPECTED}")  # noqa: TRY004 - to pydantic it is a mistake of the user
    found = [figure for entry in entries for figure in _entry(entry)]
    if len(found) > MOST:
        raise ValueError(f"{len(found)} figures are more than {MOST}")
    return tuple(found)


def _entry(entry: object) -> list[Line | CitedLeg]:
    if not isinstance(entry, Mapping) or not entry:
        raise ValueError(f"{entry!r:.40} is no figure, {_EXPECTED}")
    if "device" in entry:
        return [_leg(entry)]
    told = [key for key in entry if key in LEG_KEYS]
    if told:
        raise ValueError(f"figures with {told[0]} are of a leg, and lack its device: cpu or gpu")
    return [(comparing.title(what), comparing.title(figure)) for what, figure in entry.items()]


def _leg(entry: Mapping[object, object]) -> CitedLeg:
    for key in entry:
        if key not in LEG_KEYS:
            near = nearest(str(key), LEG_KEYS) or f", expected {', '.join(LEG_KEYS)}"
            raise ValueError(f"{key!r:.40} is not known of a cited leg{near}; a sweep's settings go under `at`")
    if not any(key in entry for key in FIGURES):
        raise ValueError(f"a cited leg tells no figure, expected one of {', '.join(FIGURES)}")
    at = comparing.points([entry["at"]]) if "at" in entry else ((),)
    return CitedLeg(
        device=values.one_of(entry["device"], Device),
        floatx=values.one_of(entry["floatx"], FloatX) if "floatx" in entry else None,
        backend=comparing.backend(entry["backend"]) if "backend" in entry else "",
        settings=at[0],
        train_s=_seconds(entry, "seconds"),
        elapsed_s=_seconds(entry, "elapsed_seconds"),
        error=_error(entry["error"]) if "error" in entry else None,
        by=comparing.title(entry["by"]) if "by" in entry else "",
        source=comparing.title(entry["source"]) if "source" in entry else "",
    )


def _seconds(entry: Mapping[object, object], key: str) -> float | None:
    if key not in entry:
        return None
    value = entry[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e9:
        raise ValueError(f"{key}: {value!r:.40} is no duration, expected a number of seconds above 0, such as 17.9")
    return float(value)


def _error(value: object) -> float:
    """A share, as the jobs tell theirs, or in the job's own unit; `5.8 %` is 0.058."""
    percent = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if percent:
        # Divided as a decimal would be: 5.8 % is 0.058, not 0.057999999999999996.
        return round(float(percent[1]) / 100, 12)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"error: {value!r:.40} is no error, expected such as 5.8 % or 0.058")
    return float(value)
