"""Bars from 1 outwards: how many times as fast, or as dear, one leg is against another, with the spread."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

from launcher.compare.page.frame import Axis, Caption
from launcher.compare.page.markup import Markup, element, join
from launcher.compare.page.rows import BAR, Row, chart
from launcher.compare.page.scale import Scale, drawable, logarithmic
from launcher.comparison import Ratio
from launcher.render.figures import clean, tick_times, times
from launcher.render.told import ratio_sides, ratio_spread, ratio_words

MOST_ROWS = 40
MANY = 4
"""Pairs of legs of which each shows all its ratios."""
LEAST = 1e-9
WHAT = {"train": "training", "elapsed": "whole process", "epoch": "an epoch", "samples": "samples/s", "usd": "dollars"}


def drawn_ratios(ratios: Sequence[Ratio], *, money: bool) -> list[Ratio]:
    """Those of speed, or those of money; of many pairs of legs, one ratio a pair. Seconds say what samples/s would."""
    pairs: dict[tuple[str, str], list[Ratio]] = {}
    for ratio in ratios:
        if (ratio.what == "usd") == money and drawable(ratio.value) and ratio.value > LEAST:
            pairs.setdefault(ratio_sides(ratio), []).append(ratio)
    for found in pairs.values():
        if any(each.what == "epoch" for each in found):
            found[:] = [each for each in found if each.what != "samples"]
    most = None if len(pairs) <= MANY else 1
    return [ratio for found in pairs.values() for ratio in sorted(found, key=_rank)[:most]]


def is_compact(ratios: Sequence[Ratio]) -> bool:
    """Whether each pair has one ratio, so that a row can be named after its leg."""
    return 1 < len(ratios) == len({ratio_sides(ratio) for ratio in ratios})


def _rank(ratio: Ratio) -> int:
    return list(WHAT).index(ratio.what) if ratio.what in WHAT else len(WHAT)


def ratio_bars(ratios: Sequence[Ratio], *, money: bool, ident: str, wide: bool) -> Markup:
    """Logarithmic, so that twice and half are as long; whiskers from the least to the most of the pairs of trials."""
    title = "How many times as dear" if money else "How many times as fast"
    ends = [
        value for ratio in ratios for value in (ratio.value, ratio.least, ratio.most) if drawable(value) and value > 0
    ]
    return chart(
        list(_rows(ratios)),
        caption=Caption(
            ident=ident,
            title=title,
            description=". ".join(ratio_words(ratio) for ratio in ratios[:MOST_ROWS]) + ".",
        ),
        axis=lambda start, end: Axis(
            scale=logarithmic([1.0, *ends], start, end, margin=0.02),
            title=f"times as {'dear' if money else 'fast'}, logarithmic",
            label=tick_times,
        ),
        end_room=66,
        wide=wide,
    )


def _rows(ratios: Sequence[Ratio]) -> Iterator[Row]:
    """Grouped under the two legs that they compare."""
    compact, sides = is_compact(ratios), ("", "")
    for ratio in ratios[:MOST_ROWS]:
        if not compact and ratio_sides(ratio) != sides:
            sides = ratio_sides(ratio)
            yield Row(name=f"{sides[0]} against {sides[1]}", body=lambda *_: Markup(), heading=True)
        name = ratio_sides(ratio)[0] if compact else WHAT.get(ratio.what, clean(ratio.what))
        yield Row(name=name, body=partial(_bar, ratio))


def _bar(ratio: Ratio, x: Scale, at: float) -> Markup:
    one, end = x.at(1.0), x.at(ratio.value)
    behind = ratio.value > 1 if ratio.what == "usd" else ratio.value < 1
    kind = "ratio behind" if behind else "ratio ahead"
    bar = element("rect", x=min(one, end), y=at + 2, width=max(abs(end - one), 1), height=BAR - 4, class_=kind)
    whisker, reach = _whisker(ratio, x, at)
    label = element("text", times(ratio.value), x=max(one, end, reach) + 6, y=at + 13, class_="total")
    line = element("line", x1=one, y1=at - 4, x2=one, y2=at + BAR + 4, class_="one")
    return element("g", element("title", ratio_words(ratio)), bar, line, whisker, label)


def _whisker(ratio: Ratio, x: Scale, at: float) -> tuple[Markup | None, float]:
    """The spread, and how far right it reaches."""
    if not ratio_spread(ratio) or ratio.least <= 0 or not (drawable(ratio.least) and drawable(ratio.most)):
        return None, -math.inf
    low, high, middle = x.at(ratio.least), x.at(ratio.most), at + BAR / 2
    lines = join(
        element("line", x1=low, y1=middle, x2=high, y2=middle),
        element("line", x1=low, y1=middle - 4, x2=low, y2=middle + 4),
        element("line", x1=high, y1=middle - 4, x2=high, y2=middle + 4),
    )
    return element("g", lines, class_="whisker"), high
