"""Numbers as people read them: three figures that count, units in the heading, a dash where nothing was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.comparison import Spread

NONE = "-"
"""What was not measured."""
NOTHING = "$0"
MOST_PLAIN = 10_000_000
LEAST_PLAIN = 0.0001
LEAST_DOLLARS = 1e-7


def figure(value: float | None, *, digits: int = 3, least: float = LEAST_PLAIN) -> str:
    """`312.7` as 313, `0.0198442` as 0.0198, `41000` as 41,000; a dash for `None` and for what is not finite."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    size = abs(value)
    if size >= MOST_PLAIN or size < least:
        return f"{value:.{digits - 1}g}"
    power = int(f"{size:.{digits - 1}e}".partition("e")[2])
    decimals = max(digits - 1 - power, 0)
    return f"{value:,.{decimals}f}"


def tick(value: float) -> str:
    """A round number as round as it is: 0.05, 20, 1,000."""
    text = figure(value, digits=6)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def tick_dollars(value: float) -> str:
    """`$0.002`."""
    return f"${tick(value)}"


def tick_times(value: float) -> str:
    """`20x`, with the proper sign."""
    return f"{tick(value)}\N{MULTIPLICATION SIGN}"


def seconds(value: float | None) -> str:
    """In seconds, with four figures from 100 s on, as `time` is quoted: 312.7, 17.9, 0.0570."""
    return figure(value, digits=4 if value is not None and value >= 100 else 3)


def median(spread: Spread | None) -> float | None:
    """Its middle, where there is one."""
    return None if spread is None else spread.median


def around(spread: Spread | None) -> str:
    """`17.6 to 18.3`, with a dash: what lies around a median of several; empty for a single one."""
    if spread is None or spread.count < 2 or not (math.isfinite(spread.least) and math.isfinite(spread.most)):
        return ""
    return f"{seconds(spread.least)}\N{EN DASH}{seconds(spread.most)}"


def duration(value_s: float | None) -> str:
    """With its unit, for running text: `17.9 s`, `5 min 13 s`, `2 h 04 min`."""
    if value_s is None or not math.isfinite(value_s):
        return NONE
    if value_s < 60:
        return f"{figure(value_s)} s"
    if value_s < 3600:
        minutes, rest = divmod(round(value_s), 60)
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(value_s / 60), 60)
    return f"{hours:,} h {minutes:02d} min"


def dollars(value_usd: float | None) -> str:
    """`$0.00261`, below a tenth of a cent with two figures; what costs nothing is `$0`."""
    small = value_usd is not None and abs(value_usd) < 0.001
    text = figure(value_usd, digits=2 if small else 3, least=LEAST_DOLLARS)
    return text if text == NONE else f"${text}"


def times(value: float | None) -> str:
    """`17.5x`, with the proper sign."""
    text = figure(value)
    return text if text == NONE else f"{text}\N{MULTIPLICATION SIGN}"


def percent(value: float | None) -> str:
    """Whole percents, without the sign."""
    return NONE if value is None or not math.isfinite(value) else f"{value:.0f}"


def clean(text: str, *, most: int = 2000) -> str:
    """One line without what draws, turns the direction of writing or cannot be seen: names come from a machine."""
    text = shorten(text, most)
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else " " if sign.isspace() else "\N{REPLACEMENT CHARACTER}" for sign in text
    )


def shorten(text: str, most: int) -> str:
    """At most so many signs; the middle goes, since names differ at their ends."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    tail = most - 1 - head
    return f"{text[:head]}…{text[len(text) - tail :]}"
